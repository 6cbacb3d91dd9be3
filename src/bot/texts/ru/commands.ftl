### Что говорит меню о каждой команде.

command-privacy = Мои данные: копия, удаление, срок
command-models = Кто рисует: модели, цены, время
command-limits = Сколько ещё можно попросить
command-styles = Стили для рисования
command-stats = День, неделя, месяц
command-ops = Как дела сейчас
command-who = Человек: /who ID
command-pause = Новое не принимать
command-resume = Снова принимать новое
command-switches = Функции и модели: вкл. и выкл.
command-broadcast = Сообщение всем
command-journal = Что делали админы
command-jobs = Последние неудачи
command-create = Нарисовать по шагам
command-queue = Моё место в очереди
command-cancel = Отменить
command-history = Мои последние картинки
command-settings = Язык, формат, количество
command-help = Как мной пользоваться
command-imagine = Нарисовать: /imagine рыжая лиса в снегу
command-buy = Купить картинки
command-balance = Сколько у меня картинок
command-paysupport = Что-то не так с оплатой
command-terms = Условия продажи
command-rules = Что разрешают админы группы
