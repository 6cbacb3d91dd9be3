// The page's own words, in the person's language. What the bot says comes from the bot.

const EN = {
  people: "People", newPerson: "New person", attach: "Attach a photo", send: "Send", menu: "Commands", choices: "What you can send",
  write: "Describe a picture…", caption: "What to change, or a caption…", start: "Start",
  welcome: "Say what to draw", welcomeText: "Describe a picture in your own words and it appears here in the chat.",
  note: "Demo sandbox: a stand-in of Telegram on this machine. The pictures are painted here, not by a model.",
  online: "bot", connecting: "connecting…", offline: "no connection, trying again…",
  typing: "is typing", upload_photo: "is sending a photo", upload_document: "is sending a file",
  actions: "What to do with it", reply: "Reply", copy: "Copy text", remove: "Delete", trace: "Show its trace", cancel: "Cancel",
  blockBot: "Block the bot", unblock: "Unblock the bot", blocked: "you blocked this bot",
  edited: "edited", you: "You", photo: "Photo", file: "File", sticker: "Sticker", unsupported: "A message of another kind",
  photoReady: "Photo to send", notPhoto: "Only pictures can be sent as a photo", failed: "Not sent: ",
  noAnswer: "The bot has not answered the tap", ok: "OK", copied: "Copied", toChat: "Back to the chat",
  pay: "Pay", paid: "Paid", refunded: "Given back",
  traceTitle: "How it was made", traceEmpty: "Ask for a picture: the way it takes through the system appears here, step by step.",
  traceWait: "Waiting for the first step…", traceNone: "This message left no trace.",
  traceOff: "This sandbox runs without the trace receiver.", newMessages: "New messages", today: "Today",
  prompts: ["a red fox in snow", "a lighthouse at night", "mountains at sunset", "a cat on the moon"],
  names: ["Anna", "Ben", "Clara", "Dan", "Eva", "Frank", "Grace", "Hugo"],
};

const RU = {
  people: "Люди", newPerson: "Новый человек", attach: "Прикрепить фото", send: "Отправить", menu: "Команды", choices: "Что можно отправить",
  write: "Опишите картинку…", caption: "Что изменить, или подпись…", start: "Начать",
  welcome: "Скажите, что нарисовать", welcomeText: "Опишите картинку своими словами, и она появится здесь, в чате.",
  note: "Демонстрация: Telegram здесь заменяет программа на этой машине, а картинки рисует она сама, а не модель.",
  online: "бот", connecting: "соединение…", offline: "нет связи, пробую снова…",
  typing: "печатает", upload_photo: "отправляет фото", upload_document: "отправляет файл",
  actions: "Что с ним сделать", reply: "Ответить", copy: "Копировать текст", remove: "Удалить", trace: "Показать трассу", cancel: "Отмена",
  blockBot: "Заблокировать бота", unblock: "Разблокировать бота", blocked: "вы заблокировали бота",
  edited: "изменено", you: "Вы", photo: "Фото", file: "Файл", sticker: "Стикер", unsupported: "Сообщение другого вида",
  photoReady: "Фото к отправке", notPhoto: "Как фото можно отправить только картинку", failed: "Не отправлено: ",
  noAnswer: "Бот не ответил на нажатие", ok: "Хорошо", copied: "Скопировано", toChat: "Назад в чат",
  pay: "Заплатить", paid: "Оплачено", refunded: "Возвращено",
  traceTitle: "Как это было сделано", traceEmpty: "Попросите картинку: здесь шаг за шагом появится её путь через систему.",
  traceWait: "Жду первого шага…", traceNone: "Это сообщение не оставило трассы.",
  traceOff: "Эта песочница работает без приёмника трасс.", newMessages: "Новые сообщения", today: "Сегодня",
  prompts: ["рыжая лиса в снегу", "маяк ночью", "горы на закате", "кот на луне"],
  names: ["Анна", "Борис", "Вера", "Глеб", "Дарья", "Егор", "Жанна", "Захар"],
};

export const labelsFor = (language) => ((language || "").startsWith("ru") ? RU : EN);
