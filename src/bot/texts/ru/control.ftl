### Для админов: что они делают с людьми и с ботом.

journal-title = 📓 Что делали админы (UTC)
journal-empty = 📓 Админы пока ничего не делали.
journal-act = { $what ->
    [ban] 🚫 запрет для { $whom }
    [lift] ✅ запрет снят с { $whom }
    [tier] 🎚 класс { $whom }
    [limit] ⏳ лимиты { $whom }
    [pause] ⏸ пауза
    [resume] ▶️ продолжение
    [on] 🟢 включено: { $whom }
    [off] ⚪️ выключено: { $whom }
    [style] 🎭 стиль { $whom }
    [no_style] 🎭 удалён стиль { $whom }
    [broadcast] 📣 рассылка
    [stop] 📣 рассылка остановлена
    [no_broadcast] 📣 рассылка снята
    [retry] 🔁 заказано заново { $whom }
    [cancel] ✖️ отменено { $whom }
    [refund] ↩️ возврат для { $whom }
    [promo] 🎁 код { $whom }
   *[drop] 🗑 убрано из неудач { $whom }
}

tier = { $name ->
    [ordinary] обычный
    [first] первый
    [last] последний
    [unlimited] без лимитов
   *[other] { $name }
}
who-tier = 🎚 Класс: { $tier }
who-seen = 👁 В последний раз писал около { $at } (UTC)
who-never = 👁 В личный чат не писал
who-banned = 🚫 Под запретом: { $why }
who-strikes = ⚠️ Замечаний за час: { $strikes }
who-cooling = 🧊 Не может ничего заказывать ещё { $minutes } мин
who-jobs = 🖼 В работе { $active }, хранится заказов { $kept }
who-cost = 💰 Сегодня (UTC): { $today }. За 90 дней: { $lately }
who-private = 🔒 Это я говорю только в личном чате. Напишите мне туда один раз.
ban-why = ✏️ Почему? { $user } узнает об этом один раз. Пришлите причину или -, если без причины.
ban-untold = Сообщить человеку не удалось.
banned = 🚫 Вы больше не можете заказывать здесь картинки. Если это похоже на ошибку, напишите владельцу бота.
banned-why = 🚫 Вы больше не можете заказывать здесь картинки. Причина:
    { $why }
limit-usage = /limit ID ЗАКАЗЫ КАРТИНКИ: столько заказов за { $window } с, столько картинок в работе сразу; /limit ID - как у всех
button-ban = 🚫 Запретить
button-lift = ✅ Снять запрет

pause-now = ⏸ Пауза. Ждут { $waiting }, рисуются { $running }: они продолжаются. Вам как админу можно заказывать. Людям говорится:

    { $told }
pause-over = ▶️ Новые заказы снова принимаются.
refused-paused = ⏸ У меня небольшой перерыв, новое пока не рисую. Что уже в работе, придёт. Попробуйте немного позже.
refused-off = 🔌 Это сейчас выключено: { $feature }.
switches-title = 🔌 Что есть для всех. Нажмите, чтобы включить или выключить; картинки в работе продолжаются.
switches-open = 🟢 Новые заказы принимаются.
switches-models = 🔌 Модели для всех. Выключенная не предлагается и нового не рисует.
switch-name = { $feature ->
    [edits] изменение картинок
    [tools] увеличение и удаление фона
    [several] несколько картинок сразу
    [groups] группы
    [inline] инлайн-режим
    [api] REST API
    [improve] улучшение описаний
   *[voice] голосовые сообщения
}
button-pause = ⏸ Пауза
button-resume = ▶️ Продолжить
button-switch-models = 🔌 Модели: вкл. и выкл.
ops-paused = ⏸ Пауза, новое не принимается: { $why }

stats-title = { $span ->
    [day] 📊 Сегодня (UTC)
    [week] 📊 Семь дней (UTC)
   *[month] 📊 Тридцать дней (UTC)
}
stats-people = 👥 Заказывало людей: { $people }
stats-time = ⏱ Картинка в среднем за { $seconds } с
stats-stars = ⭐ Оплачено { $stars }, возвращено { $refunded }
stats-kinds = ⚠️ Неудачи: { $kinds }
stats-now = Сейчас ждут { $waiting }, рисуются { $running }
stats-legend = 🟩 доставлено 🟥 неудачи ⬜ отменено (слева) · 🔵 среднее время (справа)
button-day = Сегодня
button-week = Неделя
button-month = Месяц

broadcast-ru = 📣 Сообщение всем, кто пишет мне в личный чат. Пришлите русский текст в том виде, как он должен выглядеть.
broadcast-en = 📣 Теперь английский текст. Если пропустить, все получат русский.
broadcast-photo = 🖼 Пришлите фото над текстом или пропустите.
broadcast-buttons = 🔘 Пришлите кнопки, по одной в строке: Новости | News | https://t.me/example. Одна надпись — для обоих языков. Или пропустите.
broadcast-too-long = ✂️ Под фото текст до { $limit } знаков, ваш длиннее. Пропустите фото или начните заново: /broadcast.
broadcast-sure = 👆 Так это увидят люди. Отправить { $number ->
    [one] { $number } человеку
   *[many] { $number } людям
}?
broadcast-not = ✖️ Ничего не отправлено.
broadcast-other = 📣 Другая рассылка ещё не закончена. Ваша сохранена: нажмите «Отправить» ещё раз, когда та закончится или будет снята.
broadcast-progress = { $state ->
    [running] 📣 Рассылается
    [stopped] ⏹ Остановлено
    [dropped] ✖️ Снято
   *[done] ✅ Разослано
}: отправлено { $sent } из { $total }, осталось { $left }, заблокировали бота { $blocked }, не удалось { $failed }.
button-skip = ⏭ Пропустить
button-broadcast = 📣 Отправить всем
button-broadcast-stop = ⏹ Остановить
button-broadcast-go-on = ▶️ Продолжить
button-broadcast-drop = 🗑 Снять
