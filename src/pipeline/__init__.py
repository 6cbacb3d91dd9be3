"""A job's steps in their order: admission, submit, poll, deliver; and the scheduler that does what is due."""
