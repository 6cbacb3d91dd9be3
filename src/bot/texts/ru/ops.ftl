### Для операторов: /ops, страница состояния, `imagebot status`, тревоги. Только слова; числа и значки добавляет код.

ops-level-normal = Всё в порядке
ops-level-attention = Стоит взглянуть
ops-level-problem = Есть проблема

ops-waiting = Ждут в очереди
ops-time = Время обработки
ops-cpu = Процессор
ops-memory = Память
ops-workers = Воркеры
ops-line = Очередь
ops-providers = Провайдеры
ops-redis = Redis

ops-waiting-scale = норма до { $attention }, проблема — больше { $problem }
ops-time-scale = норма до { $attention } с, проблема — больше { $problem } с
ops-cpu-scale = норма до { $attention } % ядра
ops-memory-scale = норма до { $attention } %
ops-workers-scale = хотя бы один
ops-line-scale = никто не ждёт дольше { $attention } с, проблема — больше { $problem } с
ops-providers-scale = отвечают все
ops-redis-scale = сохраняет, что ему сказано

ops-seconds = { $seconds } с
ops-percent = { $percent } %
ops-no-jobs = заданий давно не было
ops-providers-value = отвечают { $well } из { $all }
ops-moving = { $seconds ->
    [0] движется, никто не ждёт
   *[other] движется; одно задание ждёт { $seconds } с, остальные меньше
}
ops-stuck = { $overdue ->
    [0] { $messages } сигналов, которые никто не берёт
   *[other] стоит: просрочено шагов — { $overdue }
}
ops-no-broker = RabbitMQ не отвечает
ops-redis-value = { $memory } МБ, { $commands }/с
ops-redis-unsaved = не может писать на диск
ops-provider = { $provider }: в работе { $running } из { $cap }, ждут { $waiting }, обычно { $low }–{ $high } с
ops-counts = С самого начала: заказано { $admitted }, доставлено { $delivered }, неудач { $failed }, отменено { $cancelled }
ops-lately = За 10 минут: заказывали { $arrivals } в минуту, доставлено { $delivered }, неудач { $failed }
ops-spent = Сегодня (UTC): { $costs }
ops-spent-of-cap = Сегодня (UTC): { $costs }; { $percent } % предела { $cap }
ops-cost = { $unit ->
    [pictures] { $shown } { $number ->
        [one] картинка
        [few] картинки
       *[many] картинок
    }
    [credits] { $shown } { $number ->
        [one] кредит
        [few] кредита
       *[many] кредитов
    }
   *[other] { $shown } { $unit }
}
ops-spending = Расходы
ops-next = Что делать
ops-nothing = Ничего.

advice-no-worker = Ни один воркер не запущен: задания принимаются и ждут. Запустите его.
advice-redis-unsaved = Redis не может писать на диск: принятое сейчас не переживёт перезапуска. Проверьте диск и журнал Redis.
advice-no-broker = RabbitMQ не отвечает: задания принимаются и ждут. Когда он вернётся, они продолжатся сами. Проверьте его и его журнал.
advice-no-provider = Ни у одного провайдера нет ключа: задайте какой-нибудь (их называет imagebot settings) и запустите заново.
advice-workers-busy = Воркеры заняты ({ $percent } % ядра, запущено { $workers }). Запустите { $number }.
advice-workers-behind = Есть шаги, которые никто не берёт (воркеров: { $workers }). Запустите { $number } и загляните в журнал воркера.
advice-breaker = { $provider } не работает, к нему пока не обращаемся. Проверьте ключ, баланс и состояние сервиса.
advice-shut = { $provider } попросил подождать ещё { $seconds } с. Пройдёт само; если часто — снизьте частоту запросов.
advice-rate = Заказывают { $arrivals } в минуту — больше, чем { $setting } пропускает к { $provider }. Поднимите { $setting }, если тариф позволяет.
advice-slots = { $arrivals } заданий в минуту × { $seconds } с = { $needed } одновременно, а для { $provider } разрешено { $cap }. Задайте { $setting }={ $goal }, если тариф позволяет; новые воркеры не помогут.
advice-rush = Наплыв: { $cap } мест у { $provider } справятся примерно за { $minutes } мин. Если так бывает часто, задайте { $setting }={ $goal }; новые воркеры не помогут.
advice-slow = { $provider } рисует картинку { $seconds } с. Отсюда это не ускорить: выберите модель побыстрее или другого провайдера.
advice-slow-else = Задание занимает { $seconds } с, и дело не в провайдере. Посмотрите трассу медленного.
advice-memory = Память занята на { $percent } %. Посмотрите, чем; дайте контейнеру больше или перенесите что-нибудь.
advice-cpu = { $part } занимает { $percent } % ядра. Посмотрите, чем он занят.

ops-hour = За последний час, наибольшее за каждые десять минут
ops-since-when = С (UTC)
ops-processes = Процессы
ops-process = Процесс
ops-cores = Процессор (доля ядра)
ops-resident = Память
ops-up = Работает
ops-machine = Машина
ops-state = Состояние
ops-in-flight = В работе
ops-usual = Обычное время
ops-provider-name = Провайдер
ops-breaker = { $state ->
    [0] работает
    [1] пробуем снова
   *[other] не трогаем
}
ops-provider-shut = просит подождать { $seconds } с
ops-jobs-slow = Медленные задания
ops-jobs-failed = Неудачные задания
ops-job = Задание
ops-took = Заняло
ops-ended = Закончилось
ops-why = Почему
ops-none = Нет.
ops-redis-details = Redis { $version }, работает { $uptime }, клиентов: { $clients }, { $append ->
    [yes] каждая запись в журнале
   *[other] журнал записей не ведётся
}
ops-updated = на { $time }
ops-lost = Страница не обновляется.
ops-since = { $unit ->
    [days] { $number } д
    [hours] { $number } ч
    [minutes] { $number } мин
   *[seconds] { $number } с
}
ops-failed-kept = { $number ->
    [0] Неудачных заданий не хранится.
   *[other] Неудачных заданий хранится: { $number } — imagebot jobs list --failed
}

alert-raised = { $mark } { $name }: { $value } ({ $scale })
alert-over = ✅ { $name }: { $value }. Длилось { $lasted }.
ops-redis-away = Redis не читается или не пишется: новые заказы не принимаются, принятые ждут. Запустите его, если он остановлен; если работает, могло кончиться место на диске или память.
alert-redis-away = 🔴 Redis не читается или не пишется: новые заказы не принимаются, принятые ждут.
    → Запустите его, если он остановлен; если работает, могло кончиться место на диске или память.
       docker compose ps redis
       docker compose logs --tail 50 redis
       imagebot doctor
alert-redis-back = ✅ Redis снова отвечает. Длилось { $lasted }.

ops-telegram = Telegram
ops-telegram-scale = отвечает в течение минуты
ops-telegram-unasked = ещё не спрашивали
ops-telegram-hears = ответил { $seconds } с назад
ops-telegram-deaf = нет обновлений { $seconds } с: { $why }
ops-deaf-token = токен не принимается (401), его отозвали; получите новый у @BotFather
ops-deaf-conflict = с этим токеном опрашивает другая программа (409); остановите её
ops-deaf-unknown = такого бота нет (404); проверьте TELEGRAM_TOKEN и TELEGRAM_API_URL
ops-deaf-server = у самого Telegram ошибка (5xx), она проходит
ops-deaf-network = до Telegram не достучаться; проверьте сеть, DNS, PROXY_URL и TELEGRAM_API_URL
ops-deaf-unasked = обновления никто не запрашивает; запустите бота
ops-deaf-webhook-anothers = вебхук чужой или снят; запустите бота заново
ops-deaf-webhook-fails = вебхук не работает ({ $why })
ops-deaf-else = Telegram отвечает { $why }
advice-telegram = Бот никого не слышит: { $why }.

ops-load = Все ядра
ops-load-scale = норма до { $attention } %
ops-disk = Диск
ops-disk-scale = норма до { $attention } %, проблема — больше { $problem } %
ops-backup = Копия
ops-backup-scale = делается вовремя
ops-backup-none = здесь не делается
ops-backup-made = сделана { $ago } назад
ops-backup-failed = не удалась: { $why }
ops-redis-days = при таком темпе заполнится через { $days } дн.
advice-load = Все ядра машины заняты ({ $percent } %). Посмотрите, чем; перенесите что-нибудь или возьмите машину побольше.
advice-disk = Диск занят на { $percent } %. Освободите место: полный диск останавливает Redis и теряет трассы.
advice-redis-days = При сегодняшнем темпе Redis заполнится через { $days } дн. Уменьшите JOB_TTL_DAYS или поднимите его maxmemory и mem_limit.
advice-redis-memory = Redis занял почти всю свою память; свыше 95 % новые картинки не принимаются. Уменьшите JOB_TTL_DAYS или поднимите его maxmemory и mem_limit.
advice-backup = Последняя копия старая, или следующая не удалась. Исправьте это, прежде чем менять что-то ещё.

ops-pictures = Оригиналы
ops-pictures-scale = есть место
ops-pictures-unused = пока не было
ops-pictures-value = занято { $kept } МБ, есть место на { $room } МБ
advice-pictures = Картинки, пришедшие в ответе, некуда сохранять, поэтому их не делают: диск полон или хранилище не отвечает.
