### Hello, help, settings, the queue, history, and what goes wrong.

start = 👋 Hello! I draw pictures from words.

    Write what you’d like to see, for example “a red fox in the snow”. You’ll see your place in line at once, and the picture will appear in the same message.

    Send a photo with a few words, and I’ll change it. Or press /create and choose the format and how many.
start-group = 👋 Hello! In a group I draw when asked:

    • /imagine and what to draw, for example “/imagine a red fox in the snow”.
    • /imagine in answer to a text draws that text, in answer to a photo changes it.
    • My name anywhere in a message works as well.

    /queue shows what you have in the works here, /settings keeps your format and number, /help tells more.
help = 🎨 How to use me

    • Write what to draw, and that’s it.
    • A photo with words changes that photo. So does answering a picture with words.{ $masks ->
        [yes] {" "}To change only a part, paint over it in Telegram’s editor (any colour) and answer the picture with that and words.
       *[no] {""}
    }
    • /create asks for the words, the format and how many (1–4).
    • Add what you need: --ar 16:9 --n 4 --seed 7 --no text --model flux --quality high
    • /queue shows your place in line; /cancel takes it back.
    • /history shows your last pictures again.
    • /settings keeps your language, format and number.
    • /models and /styles: who draws, and in what style. /limits: what you have left. /privacy: your data.
    • In groups: /imagine and what to draw.

    You can ask { $rate ->
        [one] { $rate } time
       *[other] { $rate } times
    } in { $window ->
        [one] { $window } second
       *[other] { $window } seconds
    }.
unknown-command = 🤔 I don’t know that command. /help shows what I can do.
sorry = 😔 Something went wrong on our side. Please try again.
sorry-code = 😔 Something went wrong on our side. Please try again. If it stays that way, tell the owner this code: { $code }

toast-old = That message is too old. Just write again what to draw.
toast-foreign = That button is for someone else.
toast-already = Already on it.
toast-drawing = Drawing it again…
toast-file = Sending the file…
toast-cancelled = Cancelled.
toast-too-late = Too late to cancel: it’s almost ready.
toast-over = It has already ended.
toast-saved = Saved.
toast-no-original = The original is no longer kept. Here is Telegram’s version.
file-unavailable = 📎 That picture is no longer kept as a file.

settings = ⚙️ Settings

    Language: { $language }
    Format: { $aspect }
    Pictures at once: { $count }
    Model: { $model } (another: /models)
    You get: { $first }
language-auto = as in Telegram
language-name = English

queue-empty = 🌤 You have no pictures in the works.
queue-title = { $count ->
    [one] 🖼 { $count } picture of yours in the works:
   *[other] 🖼 { $count } pictures of yours in the works:
}
queue-waiting = number { $place } in line, { $time }
queue-making = being drawn, { $time }
queue-late = being drawn, a little longer than usual
queue-sending = almost there
queue-more = …and { $number ->
    [one] { $number } request
   *[other] { $number } requests
} more
queue-busy = Now: { $waiting ->
    [0] nobody waits
    [one] { $waiting } picture waits
   *[other] { $waiting } pictures wait
}, { $running ->
    [0] nothing is being drawn
    [one] { $running } is being drawn
   *[other] { $running } are being drawn
}.
button-look = 🔄 Refresh
button-cancel-number = ✖️ { $number }

cancel-nothing = 🌤 There is nothing to cancel.
cancel-which = Which one? Choose it in the list:

history-empty = 🗂 No pictures yet. Write what to draw!
