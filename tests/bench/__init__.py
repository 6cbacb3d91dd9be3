"""Ways to do the same work side by side on the same sandbox, measured: `python -m tests.bench`.

Every contender does for each job what a person's picture takes: the task at the provider, its polls, the
picture fetched and put in the placeholder's place. Ours and the floors find the placeholder sent, as the
bot's process does it; the guide's design and the waiting actors send it themselves.
"""
