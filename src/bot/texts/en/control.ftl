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
