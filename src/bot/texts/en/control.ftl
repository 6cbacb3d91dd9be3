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
    [retry] 🔁 asked again for { $whom }
    [cancel] ✖️ cancelled { $whom }
   *[drop] 🗑 dropped { $whom }
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
