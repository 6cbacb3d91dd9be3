### After the picture: what its buttons do, where it comes from, how it was made.

button-edit = ✏️ Edit
button-more = ⋯
button-less = ‹ Back to the buttons
button-upscale = 🔍 Upscale
button-cutout = 🪄 Remove background
button-start = 🖼 Use as start
button-details = ℹ️ Details
button-back = ⬅️ Back
button-branch = 🌿 Branch

change-ask = ✏️ What shall I change in this picture? Write it in a few words.
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
