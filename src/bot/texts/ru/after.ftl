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
details-seed = 🌱 Сид { $seed }
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

privacy = 🔐 Что я о вас храню

    Ваши слова и настройки, и номера ваших картинок у Telegram: { $days ->
        [one] { $days } день
        [few] { $days } дня
       *[many] { $days } дней
    } после просьбы; избранное, пока оно избранное. Сами картинки лежат у Telegram; некоторые оригиналы у меня, не дольше чем { $originals ->
        [one] { $originals } день
        [few] { $originals } дня
       *[many] { $originals } дней
    }. Кто рисует, получает ваши слова и присланные картинки, но не знает, кто вы.
privacy-inline = Картинки, нарисованные в ваших сообщениях в других чатах, лежат ещё и в служебном чате владельца, без ваших слов и имени. Что вы удалите не позже двух дней после рисования, исчезнет и оттуда; в тех чатах удалите их сами.
privacy-days = { $days } д.
privacy-elsewhere = 🔐 Это только между нами: спросите в нашем личном чате.
button-export = 📦 Прислать всё
button-delete-me = 🗑 Удалить всё
button-delete-sure = 🗑 Да, удалить всё
export-begins = 📦 Собираю: слова и картинки. Пришлю сюда файлами.
export-already = 📦 Я собрал всё несколько минут назад. Попросите позже.
export-failed = 😔 Не получилось. Попробуйте /export ещё раз.
export-part = 📦 Часть { $number }; будет ещё.
export-done = 📦 Это всё, что я храню: { $count ->
    [one] { $count } картинка
    [few] { $count } картинки
   *[many] { $count } картинок
}, и все слова в words.json.
delete-sure = 🗑 Удалить всё, что я о вас храню? Картинки в работе отменятся; история, избранное, настройки и слова исчезнут. Вернуть будет нельзя.
delete-not = Хорошо, ничего не удалено.
delete-receipt = 🧾 Всё ваше удалено. Квитанция { $number }, { $at } UTC
delete-pictures = • Картинок и слов к ним: { $pictures }
delete-cancelled = • Из них в работе, отменено: { $cancelled }
delete-notes = • Настроек и других заметок: { $notes }
delete-stays = Что остаётся: заблокированы ли вы и должны ли переждать, на минуту, сколько раз вы просили, и на сегодня, сколько это стоило. Сообщения в нашем чате удалите сами. То, что отправляется прямо сейчас, ещё придёт и забудется за минуты; слова, которые ждут вашего ответа в группе, за день.
delete-inline = Картинки в сообщениях, отправленных вами в другие чаты, удалите сами. { $copies ->
    [0] У владельца их не осталось.
    [one] У владельца в служебном чате останется { $copies } старше двух дней.
    [few] У владельца в служебном чате останутся { $copies } старше двух дней.
   *[many] У владельца в служебном чате останется { $copies } старше двух дней.
}
delete-backups = Резервные копии, сделанные раньше, это ещё содержат: новейшей { $hours ->
    [one] { $hours } час
    [few] { $hours } часа
   *[many] { $hours } часов
}, последняя из них исчезнет через { $days ->
    [one] { $days } день
    [few] { $days } дня
   *[many] { $days } дней
}.
delete-no-backups = Резервных копий с этим я не знаю.
command-privacy = Мои данные: копия, удаление, срок

button-app = 📱 Все сразу
app-title = Ваши картинки
app-empty = Здесь пока нет картинок.
app-search = Поиск по словам
app-favourites = Только избранное
app-settings = Настройки
app-close = Закрыть
app-lost = Не дошло до нас. Попробуйте ещё раз.
app-from = Откуда она
app-made-into = Что из неё вышло
app-sure = 🗑 Точно удалить?
app-drawing = Рисую ещё раз: смотрите в чате.
app-language = Язык
app-format = Формат
app-count = Картинок за раз
app-first = Картинка приходит
app-keep = Хранить дней

button-share = 🔗 Поделиться
button-send = 📤 Отправить
button-take-back = 🔒 Закрыть ссылку
button-like = 🎨 Сделать такую же
share = 🔗 Кто откроет эту ссылку, увидит картинку с её словами и сможет сделать такую же:
    { $link }
share-text = Смотри, что мне нарисовали. Сделай такую же:
share-taken-back = 🔒 Ссылка больше ничего не показывает.
share-gone = 🔒 Этой картинкой больше не делятся. Напишите, что хотите увидеть, и я нарисую.
