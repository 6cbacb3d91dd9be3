### Для админов.

admin-counts = Заказано { $admitted }, доставлено { $delivered }, неудач { $failed }, отменено { $cancelled }
admin-usage = /stats · /ops · /jobs · /job ID · /retry ID · /cancel ID · /drop ID · /trace ID · /who ID · /ban ID · /lift ID · /tier ID · /limit ID · /journal · /pause · /resume · /switches · /broadcast
admin-blocked = 🚫 Под запретом: { $user }. Отменено открытых картинок: { $number }.
admin-unblocked = ✅ Запрет снят: { $user }.
admin-no-failures = ✅ Неудачных заданий нет.
admin-failures = Последние неудачи:
admin-failure = { $job } · { $kind } · человек { $user } · { $provider }
admin-trace = 🔎 Задание { $job }, { $state }
    { $link }
admin-no-trace = Такого задания нет, или у него нет трассы.
admin-tiers = /tier ID { $tiers }
admin-tier = ✅ { $user }: { $tier }.
admin-no-job = Такого задания нет.
admin-not-failed = { $job } не среди неудачных: { $state }.
admin-cancelled = ✖️ { $job } отменено; было { $state }.
admin-not-cancelled = { $job } уже не отменить: { $state }.
admin-dropped = ✅ { $job } больше не среди неудачных.
admin-again = ✅ { $job } заказано заново.
admin-not-again = { $job } не принято: { $verdict }
admin-state = { $state ->
    [waiting] ждёт
    [submitting] отправляется провайдеру
    [running] рисуется
    [ready] готово
    [delivering] доставляется
    [delivered] доставлено
    [failed] неудача
    [cancelled] отменено
   *[other] { $state }
}
admin-kind = { $kind ->
    [moderated_input] фильтр отклонил слова
    [moderated_output] фильтр скрыл картинку
    [invalid_request] запрос не принят
    [too_long] слишком длинное описание
    [bad_source] фото не читается
    [bad_mask] непонятно, что закрашено
    [auth] ключ не принят
    [quota] баланс исчерпан
    [model_gone] нет такой модели
    [rate_limited] слишком часто
    [overloaded] перегрузка
    [upstream] ошибка провайдера
    [network] сеть
    [timeout] слишком долго
    [bad_result] картинка испорчена
    [submit_unknown] судьба запроса неизвестна
    [telegram_refused] Telegram не принял
    [blocked] человек заблокировал бота
    [chat_gone] чата больше нет
    [no_rights] нет права писать
    [internal] ошибка у нас
   *[other] { $kind }
}
admin-verdict = { $verdict ->
    [rate] слишком много запросов
    [active] слишком много в работе
    [busy] очередь полна
    [full] нет места для картинок
    [blocked] человек под запретом
    [paused] пауза
    [off] выключено
   *[other] { $verdict }
}

admin-spent = 💰 { $costs }
admin-spenders = Больше всего у: { $people }

owner-spent = { $percent ->
    [100] 🔴 Дневной предел { $cap } достигнут. { $then ->
        [cheaper] Что в него не помещается, рисует следующая по цене модель подешевле; если и она не помещается, отказ до полуночи UTC.
       *[stop] Что в него не помещается, получает отказ до полуночи UTC.
    }
   *[other] 🟡 Потрачено { $percent } % дневного предела { $cap }: { $costs }.
}
owner-quota = 🔴 { $provider }: баланс исчерпан, картинок больше не будет. Пополните его.
owner-limited = 🔴 { $provider }: уже сутки отвечает только «слишком часто». Возможно, исчерпан баланс: проверьте.
owner-key = 🔴 { $provider } не принимает ключ. `imagebot doctor` скажет, почему.
owner-model = 🔴 У { $provider } нет модели { $model } — или её нет по адресу из настроек. `imagebot doctor` назовёт те, что есть.
owner-host = 🔴 { $provider } кладёт картинки на { $host }, а это не разрешено. Если так и надо, добавьте его в PROVIDER_RESULT_HOSTS.
