### После картинки: что делают кнопки под ней, откуда она и как сделана.

button-edit = ✏️ Изменить
button-more = ⋯
button-less = ‹ Назад к кнопкам
button-upscale = 🔍 Увеличить
button-cutout = 🪄 Убрать фон
button-start = 🖼 Взять за основу
button-details = ℹ️ Подробности
button-back = ⬅️ Назад
button-branch = 🌿 Иначе

change-ask = ✏️ Что изменить на этой картинке? Напишите в нескольких словах.
dialog-ask-start = 🖼 Начну с этой картинки. Что из неё сделать?

details-title = ℹ️ Как сделана эта картинка
details-model = 🖌 { $model } · { $aspect }
details-seed = 🌱 Зерно { $seed }
details-took = ⏱ От просьбы до картинки: { $time }
details-cost = 💰 { $unit ->
    [credits] { $cost ->
        [one] { $cost } кредит
        [few] { $cost } кредита
        [many] { $cost } кредитов
       *[other] { $cost } кредита
    }
   *[other] { $cost } { $unit }
}
details-changed = ✍️ В словах:
details-trace = 🔎 Трасса:
from-gone = (больше не хранится)
from-again = 🔁 Нарисована заново: { $words }
from-vary = 🎨 Вариант картинки: { $words }
from-edit = ✏️ Изменена картинка: { $words }
from-start = 🖼 За основу взята: { $words }
from-upscale = 🔍 Увеличена картинка: { $words }
from-cutout = 🪄 Без фона картинка: { $words }

first-photo = 🖼 Как фото
first-file = 📎 Оригинал

gallery-place = { $place } / { $count }
gallery-ask = 🔎 Какие картинки? Напишите несколько слов из описания.
gallery-placeholder = Слова из описания
gallery-none-found = 🔎 Картинок с такими словами у вас нет. /history покажет все.
gallery-no-stars = В избранном пока пусто.
gallery-starred = ⭐ Сохранено в избранном.
gallery-unstarred = Больше не в избранном.
gallery-deleted = Удалено. Сообщение в чате можете удалить сами.
button-star = ⭐ В избранное
button-unstar = ★ Из избранного
button-open = ↗️ Открыть
button-delete = 🗑 Удалить
button-sure = 🗑 Да, удалить
button-find = 🔎 Поиск
button-starred = ⭐ Избранное
button-all = 🗂 Все
