### For operators: /ops, the status page, `imagebot status`, alerts. Words only; figures and marks are added by the code.

ops-level-normal = All is well
ops-level-attention = Worth a look
ops-level-problem = There is a problem

ops-waiting = Jobs waiting
ops-time = Processing time
ops-cpu = CPU
ops-memory = Memory
ops-workers = Workers
ops-line = The line
ops-providers = Providers
ops-redis = Redis

ops-waiting-scale = normal up to { $attention }, a problem over { $problem }
ops-time-scale = normal up to { $attention } s, a problem over { $problem } s
ops-cpu-scale = normal up to { $attention } % of a core
ops-memory-scale = normal up to { $attention } %
ops-workers-scale = at least one
ops-line-scale = nobody waits over { $attention } s, a problem over { $problem } s
ops-providers-scale = all answer
ops-redis-scale = saves what it is told

ops-seconds = { $seconds } s
ops-percent = { $percent } %
ops-no-jobs = no jobs lately
ops-providers-value = { $well } of { $all } answer
ops-moving = { $seconds ->
    [0] moves, nobody waits
   *[other] moves; one job waits for { $seconds } s, the others less
}
ops-stuck = { $overdue ->
    [0] { $messages } wake-ups that nobody takes
   *[other] stands still: { $overdue } steps overdue
}
ops-no-broker = RabbitMQ does not answer
ops-redis-value = { $memory } MB, { $commands }/s
ops-redis-unsaved = cannot write to disk
ops-provider = { $provider }: { $running } of { $cap } in flight, { $waiting } waiting, usually { $low }–{ $high } s
ops-counts = Since the beginning: asked { $admitted }, delivered { $delivered }, failed { $failed }, cancelled { $cancelled }
ops-lately = Last 10 minutes: { $arrivals } a minute asked, { $delivered } delivered, { $failed } failed
ops-spent = Today (UTC): { $costs }
ops-spent-of-cap = Today (UTC): { $costs }; { $percent } % of the cap of { $cap }
ops-cost = { $unit ->
    [pictures] { $shown } { $number ->
        [one] picture
       *[other] pictures
    }
   *[other] { $shown } { $unit }
}
ops-spending = Spending
ops-next = What to do
ops-nothing = Nothing.

advice-no-worker = No worker is running: jobs are accepted and wait. Start one.
advice-redis-unsaved = Redis cannot write to disk: what is accepted now would not survive a restart. Look at its disk and its log.
advice-no-broker = RabbitMQ does not answer: jobs are accepted and wait. They go on by themselves when it is back. Look at it and its log.
advice-no-provider = No provider has a key: set one (imagebot settings names them) and start again.
advice-workers-busy = The workers are busy ({ $percent } % of a core, { $workers } running). Run { $number }.
advice-workers-behind = Steps are due that nobody takes ({ $workers } workers running). Run { $number }, and look into the log of a worker.
advice-breaker = { $provider } fails and is left alone for now. Check its key, its balance and its status.
advice-shut = { $provider } asked us to stay away for another { $seconds } s. It passes by itself; if it comes often, lower its rate.
advice-rate = { $arrivals } jobs a minute are asked, more than { $setting } lets out to { $provider }. Raise { $setting } if your plan allows it.
advice-slots = { $arrivals } jobs a minute × { $seconds } s each = { $needed } at once, and { $provider } may have { $cap }. Set { $setting }={ $goal } if your plan allows it; more workers would not help.
advice-rush = A rush: { $provider }'s { $cap } slots clear it in about { $minutes } min at this rate. If it comes often, set { $setting }={ $goal }; more workers would not help.
advice-slow = { $provider } takes { $seconds } s a picture. Nothing here makes it faster: choose a faster model or another provider.
advice-slow-else = A job takes { $seconds } s, and it is not the provider. Look at the trace of a slow one.
advice-memory = Memory is { $percent } % full. See what takes it; give the container more, or move something away.
advice-cpu = { $part } takes { $percent } % of a core. Look what it is at.

ops-hour = The last hour, the highest of every ten minutes
ops-since-when = From (UTC)
ops-processes = Processes
ops-process = Process
ops-cores = CPU (of a core)
ops-resident = Memory
ops-up = Up
ops-machine = Machine
ops-state = State
ops-in-flight = In flight
ops-usual = Usual time
ops-provider-name = Provider
ops-breaker = { $state ->
    [0] works
    [1] being tried again
   *[other] left alone
}
ops-provider-shut = away for { $seconds } s
ops-jobs-slow = Slow jobs
ops-jobs-failed = Failed jobs
ops-job = Job
ops-took = Took
ops-ended = Ended
ops-why = Why
ops-none = None.
ops-redis-details = Redis { $version }, up { $uptime }, { $clients } clients, { $append ->
    [yes] every write in its log
   *[other] not keeping a log of writes
}
ops-updated = as of { $time }
ops-lost = The page cannot be refreshed.
ops-since = { $unit ->
    [days] { $number } d
    [hours] { $number } h
    [minutes] { $number } min
   *[seconds] { $number } s
}
ops-failed-kept = { $number ->
    [0] No failed jobs kept.
    [one] One failed job kept: imagebot jobs list --failed
   *[other] { $number } failed jobs kept: imagebot jobs list --failed
}

alert-raised = { $mark } { $name }: { $value } ({ $scale })
alert-over = ✅ { $name }: { $value }. It lasted { $lasted }.
ops-redis-away = Redis cannot be read or written: nobody’s wish is taken, and those accepted wait. Start it if it is gone; if it runs, its disk or its memory may be full.
alert-redis-away = 🔴 Redis cannot be read or written: nobody’s wish is taken, and those accepted wait.
    → Start it if it is gone; if it runs, its disk or its memory may be full.
       docker compose ps redis
       docker compose logs --tail 50 redis
       imagebot doctor
alert-redis-back = ✅ Redis answers again. It lasted { $lasted }.

ops-telegram = Telegram
ops-telegram-scale = answers within a minute
ops-telegram-unasked = not asked yet
ops-telegram-hears = heard { $seconds } s ago
ops-telegram-deaf = no updates for { $seconds } s: { $why }
ops-deaf-token = the token is refused (401), it was revoked; get a new one from @BotFather
ops-deaf-conflict = another program polls with this token (409); stop it
ops-deaf-unknown = there is no such bot (404); check TELEGRAM_TOKEN and TELEGRAM_API_URL
ops-deaf-server = Telegram has an error of its own (5xx), which passes
ops-deaf-network = Telegram cannot be reached; look at the network, DNS, PROXY_URL and TELEGRAM_API_URL
ops-deaf-unasked = no bot process asks for updates; start one
ops-deaf-webhook-anothers = the webhook is another’s or was taken back; start the bot again
ops-deaf-webhook-fails = the webhook fails ({ $why })
ops-deaf-else = Telegram answers { $why }
advice-telegram = The bot hears nobody: { $why }.

ops-load = All cores
ops-load-scale = normal up to { $attention } %
ops-disk = Disk
ops-disk-scale = normal up to { $attention } %, a problem over { $problem } %
ops-backup = Backup
ops-backup-scale = made when it is time
ops-backup-none = none is made here
ops-backup-made = made { $ago } ago
ops-backup-failed = failed: { $why }
ops-redis-days = full in { $days } days at this pace
advice-load = All cores of the machine are busy ({ $percent } %). Look what uses them; move something away, or take a larger machine.
advice-disk = The disk is { $percent } % full. Make room: a full one stops Redis and loses traces.
advice-redis-days = At today's pace Redis is full in { $days } days. Lower JOB_TTL_DAYS, or raise its maxmemory and mem_limit.
advice-redis-memory = Redis uses most of its memory; over 95 % no new pictures are taken. Lower JOB_TTL_DAYS, or raise its maxmemory and mem_limit.
advice-backup = The last backup is old, or the one after it failed. Mend it before anything else is changed.

ops-pictures = Originals
ops-pictures-scale = have room
ops-pictures-unused = none kept yet
ops-pictures-value = { $kept } MB kept, room for { $room } MB
advice-pictures = Pictures that come in answers cannot be kept, so none are made: the disk is full, or the storage does not answer.
