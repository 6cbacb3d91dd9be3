### What the menu says of each command, apart: it is all that a bot needs to start with.

command-privacy = My data: copy, delete, how long
command-models = Who draws: models, prices, times
command-limits = What I can still ask for
command-styles = Styles to draw in
command-stats = Day, week, month
command-ops = How it goes now
command-who = A person: /who ID
command-pause = Take nothing new
command-resume = Take new wishes again
command-switches = Features and models on and off
command-broadcast = A notice to everybody
command-journal = What admins did
command-jobs = The last failed jobs
command-create = Draw a picture step by step
command-queue = My place in line
command-cancel = Cancel
command-history = My last pictures
command-settings = Language, format, number
command-help = How to use me
command-imagine = Draw: /imagine a red fox in the snow
command-buy = Buy pictures
command-balance = How many pictures I have
command-paysupport = Something wrong with a payment
command-terms = Terms of sale
command-rules = What this group’s admins allow
