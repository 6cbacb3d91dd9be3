### Inline mode: @bot and words in any chat.

inline-make = 🎨 Draw: { $words }
inline-make-more = The picture will appear in your message.
inline-sent = 🎨 The picture will appear here. If I don’t begin by myself, tap “Make it”.
inline-write = ✍️ Write what I shall draw
inline-not-here = 🎨 New pictures: in our own chat
button-make = 🎨 Make it
button-inline-again = 🔁 Draw more of this
owner-storage = 🔴 The pictures of inline mode cannot be stored: I may not post to INLINE_STORAGE_CHAT. `imagebot doctor` says why.
