### Groups: what their admins allow.

rules = ⚙️ Rules of this group. Only its admins change them; the model they choose in /models.
    🙈 covered pictures are shown to whoever taps them.
    👤 pictures an hour for each person, 👥 for all together.
rules-for-admins = Only this group’s admins change its rules.
rules-not-here = ⚙️ /rules is for groups: their admins say there who may ask, and for how much. Yours are in /settings.
rules-admins = 🔑 Only admins ask
rules-edits = ✏️ Changing pictures
rules-covered = 🙈 Covered
rules-each = { $number ->
    [0] 👤 ∞
   *[other] 👤 { $number }
}
rules-hourly = { $number ->
    [0] 👥 ∞
   *[other] 👥 { $number }
}
language-each = Each their own
refused-only-admins = 🔑 In this group only its admins may ask me. In our private chat you may.
refused-no-changes-here = ✏️ In this group pictures aren’t changed, its admins say. In our private chat they are.
refused-here = ⏳ You’ve asked for as many pictures as this group’s admins allow in an hour. More in { $minutes ->
        [one] { $minutes } minute
       *[other] { $minutes } minutes
    }.
refused-here-all = ⏳ As many pictures as this group’s admins allow in an hour have been asked for. More in { $minutes ->
        [one] { $minutes } minute
       *[other] { $minutes } minutes
    }.
