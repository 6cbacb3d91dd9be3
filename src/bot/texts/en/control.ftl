### For admins: what they do to people and to the bot.

journal-title = 📓 What admins did (UTC)
journal-empty = 📓 No admin has done anything yet.
journal-act = { $what ->
    [ban] 🚫 banned { $whom }
    [lift] ✅ lifted the ban of { $whom }
    [tier] 🎚 tier of { $whom }
    [limit] ⏳ limits of { $whom }
    [pause] ⏸ paused
    [resume] ▶️ resumed
    [on] 🟢 switched on { $whom }
    [off] ⚪️ switched off { $whom }
    [style] 🎭 style { $whom }
    [no_style] 🎭 deleted the style { $whom }
    [broadcast] 📣 broadcast
    [stop] 📣 stopped the broadcast
    [no_broadcast] 📣 dropped the broadcast
    [retry] 🔁 asked again for { $whom }
    [cancel] ✖️ cancelled { $whom }
    [refund] ↩️ refunded { $whom }
    [promo] 🎁 code { $whom }
   *[drop] 🗑 dropped { $whom }
}

tier = { $name ->
    [ordinary] ordinary
    [first] first
    [last] last
    [unlimited] unlimited
   *[other] { $name }
}
who-tier = 🎚 Tier: { $tier }
who-seen = 👁 Last wrote about { $at } (UTC)
who-never = 👁 Never wrote in private
who-banned = 🚫 Banned: { $why }
who-strikes = ⚠️ Strikes in the last hour: { $strikes }
who-cooling = 🧊 May ask for nothing for { $minutes } min
who-jobs = 🖼 In the works { $active }, requests kept { $kept }
who-cost = 💰 Today (UTC): { $today }. In 90 days: { $lately }
who-private = 🔒 I say that in our private chat only. Please write to me there once.
ban-why = ✏️ Why? { $user } is told it, once. Send the reason, or - for none.
ban-untold = They could not be told.
banned = 🚫 You can’t order pictures here any more. If that looks like a mistake, write to the bot’s owner.
banned-why = 🚫 You can’t order pictures here any more. The reason:
    { $why }
limit-usage = /limit ID REQUESTS PICTURES: so many requests in { $window } s, so many pictures in the works at once; /limit ID - as for everybody
button-ban = 🚫 Ban
button-lift = ✅ Lift the ban

pause-now = ⏸ Paused. Waiting { $waiting }, being drawn { $running }: these go on. You as an admin can still ask. People are told:

    { $told }
pause-over = ▶️ New wishes are taken again.
refused-paused = ⏸ I’m taking a short break and draw nothing new right now. What is in the works will come. Please try again a little later.
refused-off = 🔌 That is switched off right now: { $feature }.
switches-title = 🔌 What there is for everybody. Press to turn on or off; pictures in the works go on.
switches-open = 🟢 New wishes are taken.
switches-models = 🔌 Models for everybody. One that is off is not offered, and draws nothing new.
switch-name = { $feature ->
    [edits] changing pictures
    [tools] upscaling and cut-outs
    [several] several pictures at once
    [groups] groups
    [inline] inline mode
    [api] REST API
    [improve] improving words
   *[voice] voice messages
}
button-pause = ⏸ Pause
button-resume = ▶️ Resume
button-switch-models = 🔌 Models on and off
ops-paused = ⏸ Paused by an admin, nothing new is taken: { $why }

stats-title = { $span ->
    [day] 📊 Today (UTC)
    [week] 📊 Seven days (UTC)
   *[month] 📊 Thirty days (UTC)
}
stats-people = 👥 People who ordered: { $people }
stats-time = ⏱ A picture took { $seconds } s on average
stats-stars = ⭐ Paid { $stars }, given back { $refunded }
stats-kinds = ⚠️ Failed because: { $kinds }
stats-now = Now waiting { $waiting }, being drawn { $running }
stats-legend = 🟩 delivered 🟥 failed ⬜ cancelled (left) · 🔵 mean time (right)
button-day = Today
button-week = Week
button-month = Month

broadcast-ru = 📣 A notice to everybody who talks to me in private. Send the Russian text, as it shall look.
broadcast-en = 📣 Now the English text. Skipped, everybody gets the Russian one.
broadcast-photo = 🖼 Send a photo that stands above the text, or skip that.
broadcast-buttons = 🔘 Send the buttons, one a line: Новости | News | https://t.me/example. One label is for both languages. Or skip that.
broadcast-too-long = ✂️ Under a photo a text has up to { $limit } characters; yours is longer. Skip the photo, or begin anew with /broadcast.
broadcast-sure = 👆 So people will see it. Send it to { $number ->
    [one] { $number } person
   *[other] { $number } people
}?
broadcast-not = ✖️ Nothing was sent.
broadcast-other = 📣 Another broadcast has not ended. Yours is kept: tap Send again once that one is done or dropped.
broadcast-progress = { $state ->
    [running] 📣 On its way
    [stopped] ⏹ Stopped
    [dropped] ✖️ Dropped
   *[done] ✅ The notice has gone out
}: sent to { $sent } of { $total }, left { $left }, blocked the bot { $blocked }, failed { $failed }.
button-skip = ⏭ Skip
button-broadcast = 📣 Send to everybody
button-broadcast-stop = ⏹ Stop
button-broadcast-go-on = ▶️ Go on
button-broadcast-drop = 🗑 Drop it
