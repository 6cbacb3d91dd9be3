### What the message of a picture says, from the line to the end.

time = { $unit ->
    [seconds] { $low ->
        [0] under { $high } s
       *[other] about { $low }–{ $high } s
    }
   *[minutes] { $low ->
        [0] about a minute
        [60] an hour or more
       *[other] about { $low }–{ $high } min
    }
}

placeholder-waiting = { $place ->
    [1] 🕐 You’re next in line. Ready in { $time }.
   *[other] 🕐 You’re number { $place } in line. Ready in { $time }.
}
placeholder-queued = { $ahead ->
    [0] 🕐 Next at the service that draws it. Ready in { $time }.
   *[other] 🕐 The service that draws it has a queue: { $ahead } before yours. Ready in { $time }.
}
placeholder-making = 🎨 Drawing… Ready in { $time }.
placeholder-making-percent = 🎨 Drawing… { $percent }% done, ready in { $time }.
placeholder-quiet = 🔔 I’ll write here when { $count ->
    [one] your picture is
   *[other] your pictures are
} done. /queue shows how long it may take.
placeholder-again = ↪️ The first service failed. Another one draws it now, so it takes longer than I said.
placeholder-late-percent = 🎨 Drawing… { $percent }% done. It takes a little longer than usual.
placeholder-late-queued = { $ahead ->
    [0] 🕐 Next at the service that draws it. It takes a little longer than usual.
   *[other] 🕐 The service that draws it has a queue: { $ahead } before yours. It takes a little longer than usual.
}
placeholder-preview = 🎨 This is how far it is. I’m still drawing…
placeholder-late = 🎨 Drawing… It takes a little longer than usual.
placeholder-counts = ℹ️ If there’s another message about this picture, it’s out of date: this one counts.
placeholder-sending = 🖼 Almost there: sending the picture.
placeholder-album = { placeholder-album-head }
    { $line }
placeholder-album-head = 🖼 { $done } of { $count } ready.

caption-made-by = 🖌 { $model } · { $aspect }
caption-instead = ↪️ Made by { $provider } instead of { $first }
aspect-of-source = your photo’s shape
ready = ✨ Your picture is ready.
ready-album = ✨ Your pictures are ready.
ready-not = 🌧 It didn’t work out this time. The message says why.

album-done = { $count ->
    [one] ✨ Your picture is ready.
    [2] ✨ Both pictures are ready.
   *[other] ✨ All { $count } pictures are ready.
}
album-some = { $done ->
    [one] ✨ { $done } of { $count } pictures is ready.
   *[other] ✨ { $done } of { $count } pictures are ready.
}
album-variations = 🎨 and a number: a variation of that picture.
album-cancelled = ✖️ Cancelled.
album-cancelled-late = { $count ->
    [one] One that you cancelled was being drawn already: it counts.
   *[other] { $count } that you cancelled were being drawn already: they count.
}

strikes-left = ⚠️ { $left ->
    [0] That was too often in an hour: for half an hour I draw nothing for you.
    [one] Once more within an hour, and I draw nothing for you for half an hour.
   *[other] { $left } more of these within an hour, and I draw nothing for you for half an hour.
}
counts = It counts towards your limit.
counts-not = It doesn’t count towards your limit.
cancelled = ✖️ Cancelled. Nothing was drawn.
cancelled-by-us = ✖️ Cancelled on our side while it was being drawn.
cancelled-late = ✖️ Cancelled. It was being drawn already.
failed-moderated-input = 🛡 The safety filter declined this description. Please change it and try again.
failed-moderated-output = 🛡 The picture was hidden by the safety filter. A different description may help.
failed-invalid-request = 🤔 The picture service could not take this request. Please try other words, another format or fewer pictures.
failed-too-long = ✂️ The description is too long for the picture service. Please shorten it.
failed-bad-source = 🖼 I couldn’t read that picture. Please send a JPEG, PNG or WebP photo up to 20 MB.
failed-bad-mask = 🖌 I couldn’t tell what was painted over. Please take the picture as I sent it, don’t crop it, and cover clearly the part that shall change, not all of it.
failed-unavailable = 🔧 The picture service is not available right now. It’s on our side, and the owner can see it. Please try later.
failed-model-gone = 🔧 The picture service no longer has the model it is asked for. That’s on our side, not in your words, and the owner has been told. Please try later.
failed-busy = 🌧 The picture service is overloaded and did not answer. Please try again in a few minutes.
failed-timeout = ⌛ It took too long, so I stopped. Please try again.
failed-bad-result = 🌧 The picture arrived broken. Please try again.
failed-no-rights = 🔇 I’m not allowed to send pictures here (or in this topic). An admin can allow photos or files, or make me an admin. Then ask again.
failed-other = 🌧 It didn’t work out this time. Please try again.

offer = The line is long right now. Your place is kept, whatever you press.
offer-faster = ⚡ { $model } would be ready in { $time }.
offer-faster-unmeasured = ⚡ { $model } is usually faster.
button-wait = 🕐 Wait
button-later = 🔔 Tell me later
button-faster = ⚡ A faster model
toast-wait = Fine, your place is kept.
toast-later = I’ll write when it’s done.
toast-faster = { $model } will draw it.
toast-no-faster = No other model would be sooner now. Your place is kept.
toast-being-drawn = It is being drawn already.

button-cancel = ✖️ Cancel
button-again = 🔁 Again
button-variation = 🎨 Variation
button-file = 📎 As file
button-words = ✏️ Edit prompt
button-files = 📎 As files
button-variation-of = 🎨 { $number }
