### Что говорит сообщение картинки, от очереди до конца.

time = { $unit ->
    [seconds] { $low ->
        [0] меньше { $high } с
       *[other] примерно { $low }–{ $high } с
    }
   *[minutes] { $low ->
        [0] примерно минуту
        [60] час или больше
       *[other] примерно { $low }–{ $high } мин
    }
}

placeholder-waiting = { $place ->
    [1] 🕐 Вы следующие. Ждать { $time }.
   *[other] 🕐 Ваше место в очереди: { $place }. Ждать { $time }.
}
placeholder-making = 🎨 Рисую… Ждать { $time }.
placeholder-making-percent = 🎨 Рисую… Готово { $percent } %, ждать { $time }.
placeholder-quiet = 🔔 Напишу сюда, когда { $count ->
    [one] картинка будет готова
   *[other] картинки будут готовы
}. Сколько ещё ждать, покажет /queue.
placeholder-again = ↪️ Первый сервис не справился. Теперь рисует другой, поэтому ждать дольше, чем я обещал.
placeholder-late-percent = 🎨 Рисую… Готово { $percent } %. Чуть дольше обычного.
placeholder-late = 🎨 Рисую… Чуть дольше обычного.
placeholder-counts = ℹ️ Если об этой картинке есть другое сообщение, оно устарело: верно это.
placeholder-sending = 🖼 Почти готово: отправляю картинку.
placeholder-album = { placeholder-album-head }
    { $line }
placeholder-album-head = 🖼 Готово { $done } из { $count }.

caption-made-by = 🖌 { $model } · { $aspect }
caption-instead = ↪️ Нарисовано сервисом { $provider } вместо { $first }
aspect-of-source = форма вашего фото
ready = ✨ Картинка готова.
ready-album = ✨ Картинки готовы.
ready-not = 🌧 В этот раз не получилось. Почему — в самом сообщении.

album-done = { $count ->
    [one] ✨ Готова { $count } картинка.
    [2] ✨ Готовы обе картинки.
    [few] ✨ Готовы все { $count } картинки.
   *[many] ✨ Готовы все { $count } картинок.
}
album-some = ✨ Готово { $done } из { $count } картинок.
album-cancelled = ✖️ Отменено.

counts = Запрос засчитан.
counts-not = Запрос не засчитан.
cancelled = ✖️ Отменено. Ничего не нарисовано.
failed-moderated-input = 🛡 Запрос отклонён фильтром безопасности. Измените описание и попробуйте ещё раз.
failed-moderated-output = 🛡 Изображение скрыто фильтром безопасности. Попробуйте другое описание.
failed-invalid-request = 🤔 Сервис картинок не принял такой запрос. Попробуйте другие слова или другой формат.
failed-too-long = ✂️ Описание слишком длинное для сервиса картинок. Сократите его, пожалуйста.
failed-bad-source = 🖼 Не получилось прочитать эту картинку. Пришлите фото JPEG, PNG или WebP до 20 МБ.
failed-unavailable = 🔧 Сервис картинок сейчас недоступен. Это на нашей стороне, владелец это видит. Попробуйте позже.
failed-model-gone = 🔧 У сервиса картинок больше нет этой модели. Дело не в ваших словах, а в наших настройках: владелец уже знает. Попробуйте позже.
failed-busy = 🌧 Сервис картинок перегружен и не ответил. Попробуйте через несколько минут.
failed-timeout = ⌛ Слишком долго не получалось, и я остановился. Попробуйте ещё раз.
failed-bad-result = 🌧 Картинка пришла повреждённой. Попробуйте ещё раз.
failed-no-rights = 🔇 Мне нельзя отправлять сюда (или в эту тему) картинки. Админ может разрешить фото или файлы либо сделать меня админом. Потом попросите ещё раз.
failed-other = 🌧 В этот раз не получилось. Попробуйте ещё раз.

offer = Очередь сейчас длинная. Место за вами, что бы вы ни нажали.
offer-faster = ⚡ { $model }: ждать { $time }.
offer-faster-unmeasured = ⚡ { $model } обычно быстрее.
button-wait = 🕐 Подожду
button-later = 🔔 Сообщить потом
button-faster = ⚡ Модель побыстрее
toast-wait = Хорошо, место за вами.
toast-later = Напишу, когда будет готово.
toast-faster = Нарисует { $model }.
toast-no-faster = Сейчас другие модели не быстрее. Место за вами.
toast-being-drawn = Уже рисую.

button-cancel = ✖️ Отменить
button-again = 🔁 Ещё раз
button-variation = 🎨 Вариант
button-file = 📎 Файлом
button-words = ✏️ Изменить описание
button-files = 📎 Файлами
button-variation-of = 🎨 { $number }
