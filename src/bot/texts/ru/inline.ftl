### Инлайн-режим: @бот и слова в любом чате.

inline-make = 🎨 Нарисовать: { $words }
inline-make-more = Картинка появится в вашем сообщении.
inline-sent = 🎨 Картинка появится здесь. Если я сам не начну, нажмите «Сделать».
inline-write = ✍️ Напишите, что нарисовать
inline-not-here = 🎨 Новые картинки — в чате со мной
button-make = 🎨 Сделать
button-inline-again = 🔁 Нарисовать ещё такое
owner-storage = 🔴 Картинки инлайн-режима негде хранить: мне нельзя писать в INLINE_STORAGE_CHAT. `imagebot doctor` скажет почему.
