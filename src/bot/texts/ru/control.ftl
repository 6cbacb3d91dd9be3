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
    [retry] 🔁 заказано заново { $whom }
    [cancel] ✖️ отменено { $whom }
   *[drop] 🗑 убрано из неудач { $whom }
}
