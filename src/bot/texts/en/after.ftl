### After the picture: what its buttons do, where it comes from, how it was made.

button-edit = ✏️ Edit
button-more = ⋯
button-less = ‹ Back to the buttons
button-upscale = 🔍 Upscale
button-cutout = 🪄 No background
button-start = 🖼 Use as start
button-mask = 🖌 Only a part
button-details = ℹ️ Details
button-back = ⬅️ Back
button-branch = 🌿 Branch

change-ask = ✏️ What shall I change in this picture? Write it in a few words.
mask-ask = 🖌 To change only a part of this picture: open it, paint over that part in any colour with Telegram’s own editor (the brush), and send it back here as a photo, with words about what shall be there. /cancel forgets it.
mask-ask-words = 🖌 Got it. Now write what shall be where you painted.
dialog-ask-start = 🖼 I’ll begin with this picture. What shall become of it?

details-title = ℹ️ How this picture was made
details-model = 🖌 { $model } · { $aspect }
details-seed = 🌱 Seed { $seed }
details-took = ⏱ From asking to the picture: { $time }
details-cost = 💰 { $unit ->
    [credits] { $cost ->
        [one] { $cost } credit
       *[other] { $cost } credits
    }
   *[other] { $cost } { $unit }
}
details-changed = ✍️ In words:
details-trace = 🔎 Trace:
from-gone = (no longer kept)
from-again = 🔁 Drawn anew from: { $words }
from-vary = 🎨 A variation of: { $words }
from-edit = ✏️ Changed from: { $words }
from-mask = 🖌 Changed where it was painted over: { $words }
from-start = 🖼 Began with: { $words }
from-upscale = 🔍 Enlarged from: { $words }
from-cutout = 🪄 Without the background of: { $words }

first-photo = 🖼 As a photo
first-file = 📎 The original

gallery-place = { $place } / { $count }
gallery-ask = 🔎 Which pictures? Write a few of their words.
gallery-placeholder = Words of the picture
gallery-none-found = 🔎 No picture of yours has these words. /history shows all.
gallery-no-stars = No favourites yet.
gallery-starred = ⭐ Kept among your favourites.
gallery-unstarred = No favourite any more.
gallery-deleted = Deleted here. Its message in the chat is yours to delete.
button-star = ⭐ Favourite
button-unstar = ★ Not any more
button-open = ↗️ Open
button-delete = 🗑 Delete
button-sure = 🗑 Yes, delete
button-find = 🔎 Search
button-starred = ⭐ Favourites
button-all = 🗂 All

privacy = 🔐 What I keep of you

    Your words and settings, and Telegram’s own ids of your pictures, for { $days ->
        [one] { $days } day
       *[other] { $days } days
    } after you asked; favourites for as long as they are such. Pictures themselves are with Telegram; some originals are with me for up to { $originals ->
        [one] { $originals } day
       *[other] { $originals } days
    }. Whoever draws the pictures gets your words and the pictures you send, not who you are.
privacy-inline = Pictures that you had drawn into messages in other chats also stand, without your words and name, in a chat of the owner’s. What you delete within two days of its drawing goes from there too; in those other chats it is yours to delete.
privacy-days = { $days } d
privacy-elsewhere = 🔐 That’s between the two of us: ask me in our private chat.
button-export = 📦 Send me all
button-delete-me = 🗑 Delete all
button-delete-sure = 🗑 Yes, delete all
export-begins = 📦 I’m packing it: words and pictures. It comes here as files.
export-already = 📦 I packed it a few minutes ago. Please ask again later.
export-failed = 😔 That broke off. Please try /export again.
export-part = 📦 Part { $number }; more follows.
export-done = 📦 That’s all I keep: { $count ->
    [one] { $count } picture
   *[other] { $count } pictures
}, and all words in words.json.
delete-sure = 🗑 Delete everything I keep of you? Pictures in the works are cancelled; history, favourites, settings and words go. It can’t be undone.
delete-not = Fine, nothing was deleted.
delete-receipt = 🧾 Everything of yours is deleted. Receipt { $number }, { $at } UTC
delete-pictures = • Pictures and their words: { $pictures }
delete-cancelled = • Of them in the works, cancelled: { $cancelled }
delete-notes = • Settings and other notes: { $notes }
delete-stays = What stays: whether you were blocked or are to cool down, for a minute how often you asked, and for today what it cost. Messages in our chat are yours to delete. What is being sent just now still comes, and is forgotten within minutes; words that wait for your answer in a group within a day.
delete-inline = Pictures in messages that you sent in other chats are yours to delete. { $copies ->
    [0] I know of none that stays with the owner.
    [one] Of those, I know of { $copies } that stays in a chat of the owner’s and that I can’t delete.
   *[other] Of those, I know of { $copies } that stay in a chat of the owner’s and that I can’t delete.
}
delete-backups = Backups from before now still hold it: the newest is { $hours ->
    [one] { $hours } hour
   *[other] { $hours } hours
} old, and the last of them is gone in { $days ->
    [one] { $days } day
   *[other] { $days } days
}.
delete-no-backups = I know of no backups that hold it.

button-app = 📱 All of them
app-title = Your pictures
app-empty = No pictures here yet.
app-search = Search by words
app-favourites = Favourites only
app-settings = Settings
app-close = Close
app-lost = That didn’t reach us. Please try again.
app-from = Comes from
app-made-into = What came of it
app-sure = 🗑 Really delete?
app-drawing = Drawing it again: see the chat.
app-language = Language
app-format = Format
app-count = Pictures at once
app-first = A picture comes
app-keep = Days kept

button-share = 🔗 Share
button-send = 📤 Send it on
button-take-back = 🔒 Take it back
button-like = 🎨 Make one like it
share = 🔗 Whoever opens this link sees the picture with its words, and can have one like it:
    { $link }
share-text = Look what I had drawn. Make one like it:
share-taken-back = 🔒 The link shows nothing any more.
share-gone = 🔒 That picture is not shared any more. Write what you’d like to see, and I’ll draw it.
