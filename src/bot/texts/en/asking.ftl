### Asking for a picture: what to send, and why not now.

refused-rate = ⏳ Too many requests. Please wait a minute.
    { $seconds ->
        [one] You can ask again in { $seconds } second.
       *[other] You can ask again in { $seconds } seconds.
    }
refused-active = 🖼 { $number ->
    [one] { $number } picture of yours is already in the works.
   *[other] { $number } pictures of yours are already in the works.
} Please wait for one to finish, or cancel some in /queue.
refused-many = 🖼 You may ask for { $limit ->
    [one] { $limit } picture
   *[other] up to { $limit } pictures
} at once. Please ask for fewer.
refused-busy = 🌧 Too many people are waiting right now ({ $number ->
    [one] { $number } picture
   *[other] { $number } pictures
}). Please try again in a few minutes.
refused-slow = 🌧 So many would take too long right now. Please ask for fewer, or try again in a few minutes.
refused-full = 🗄 There is no room for new pictures right now. It’s on our side. Please try again in a few minutes.
refused-spent = 🌙 Today’s budget for pictures is used up. A new day begins in about { $hours ->
        [one] { $hours } hour
       *[other] { $hours } hours
    }.
refused-spent-person = 🌙 You’ve had all your pictures for today. A new day begins in about { $hours ->
        [one] { $hours } hour
       *[other] { $hours } hours
    }.
refused-forbidden = 🛡 I don’t draw that. Please describe something else.
    { $left }
refused-cooling = 🧊 You asked several times for what I don’t draw. I draw for you again in { $minutes ->
        [one] { $minutes } minute
       *[other] { $minutes } minutes
    }.
refused-blocked = 🚫 You can’t order pictures here. If that looks like a mistake, write to the bot’s owner.
refused-unavailable = 🔧 The picture service is not available right now. It’s on our side. Please try later.
refused-too-many-pictures = { $most ->
    [one] 🖼 I can take one picture at a time. Please choose one.
   *[other] 🖼 I can take up to { $most } pictures at a time. Please send fewer.
}
refused-no-edits = 🖼 I can’t change pictures right now, only draw new ones from words.
refused-unpainted = 🖌 First send the picture painted over where it shall change, as a photo. /cancel forgets it.
refused-no-mask = 🖌 This model can’t change only a part of a picture. /models shows the others.

button-ask-again = 🔁 Ask again
button-queue = 🖼 What is in the works
button-just-one = 🎨 Just one
button-no-photo = 🎨 Without the photo
button-first-photos = 🖼 Take the first ones

prompt-empty = ✏️ Describe in a few words what to draw, for example: a red fox in the snow.
prompt-too-long = ✂️ That’s too long: the description may have up to { $limit } characters. Please shorten it.

photo-ask-words = { $count ->
    [one] ✏️ Nice picture! Now write what to change in it, or send more pictures that I should look at.
   *[other] ✏️ I have { $count } pictures. Now write what to make of them. The first is the one I change. /cancel forgets them.
}
photo-too-big = 🖼 That picture is too big. Please send one up to 20 MB.
photo-unsupported = 🖼 I can work with JPEG, PNG, WebP, HEIC, AVIF, TIFF, BMP and GIF pictures. Please send one of those.
only-words-or-pictures = 💬 I understand words and photos. Write what to draw, or send a photo with a few words about what to change.

words-ask = ✏️ Send the new description. It was:
words-placeholder = New description

dialog-ask-words = ✏️ What shall I draw? Describe it in your own words.
dialog-choose = Choose a format and how many pictures, then press Draw.
dialog-choose-edit = 🖼 I’ll change your photo. Choose a format and how many pictures, then press Draw.
dialog-over = That dialog is over. Start a new one with /create.
dialog-cancelled = ✖️ Never mind. Write any time you’d like a picture.
dialog-in-groups = 💬 In groups write /imagine and what to draw. The dialog works in our private chat.

button-draw = 🎨 Draw
button-stop = ✖️ Never mind
button-surprise = 🎲 Surprise me
chosen = • { $label }

surprises =
    a red fox in falling snow, soft morning light
    an old lighthouse on a cliff in a storm, oil painting
    a cosy bookshop on a rainy evening, watercolour
    a teapot that is a tiny house, storybook illustration
    a city in the clouds at sunset, golden light
    an astronaut gardening on the moon, retro poster
    a sleepy dragon curled around a bell tower, pencil drawing
    a glass jar with a whole ocean inside, macro photo

refused-no-text = 🔇 I’m not allowed to write in your group, so I drew nothing. An admin can allow it (Permissions → Send messages).
refused-no-pictures = 🔇 Pictures and files are not allowed in this group, so I can’t draw here. An admin can allow them (Permissions → Send photos, or files), or make me an admin.
order-draw = 🎨 Shall I draw that?
order-edit = 🖼 Shall I change the picture like that?

### Parameters and the dialog's Advanced.

parameter-aspect = ar aspect format
parameter-count = n count number
parameter-quality = quality q
parameter-model = model m
parameter-seed = seed
parameter-negative = no negative without
quality-low = low
quality-medium = medium
quality-high = high
quality-xhigh = very-high
quality-max = max
quality-auto = auto

parameter-unknown = 🤔 I don’t know the parameter { $name }. I know { $known }. If it is part of your words, put a space behind the dash.
parameter-empty = 🤔 What shall { $name } be? It stands without a value.
parameter-nothing = Nothing was ordered. Please write it once more.
parameter-aspect-bad = 📐 The format { $name } isn’t possible here. Possible: { $known }.
parameter-count-bad = 🖼 { $name } pictures at once aren’t possible. Possible: 1 to { $most }.
parameter-quality-bad = 💎 I don’t know the quality { $name }. Possible: { $known }.
parameter-seed-bad = 🌱 A seed is a whole number from 0 to { $most }.
parameter-model-unknown = 🖌 I don’t have the model { $name }. I have: { $known }.
parameter-model-several = 🖌 { $name } may be several models: { $known }. Please write more of the name.
parameter-model-pictures = 🖌 { $name } can’t take { $count ->
    [one] your picture
   *[other] { $count } pictures
}. { $number ->
    [0] No model here can.
   *[other] These can: { $known }.
}
parameter-model-words = 🖌 { $name } only changes pictures. From words alone draw: { $known }.
parameter-no-quality = 💎 This model has no choice of quality. { $number ->
    [0] No model here has.
   *[other] These have: { $known }.
}
parameter-no-seed = 🌱 This model takes no seed. { $number ->
    [0] No model here does.
   *[other] These do: { $known }.
}
parameter-no-negative = 🚫 This model can’t be told what not to draw. { $number ->
    [0] No model here can.
   *[other] These can: { $known }.
}

dialog-advanced = ⚙️ Model and quality stay as you choose them. The rest is for this picture.
dialog-models = 🖌 Who shall draw?
dialog-ask-seed = 🌱 Send a whole number. The same words with the same seed give nearly the same picture.
dialog-ask-negative = 🚫 Write what must not be seen in the picture, for example: text, people.
model-line = • { $name }: { $good }
button-advanced = ⚙️ Advanced
dialog-back = ⬅️ Back
button-model = 🖌 { $model }
button-seed-any = 🌱 Seed: any
button-seed = 🌱 Seed: { $seed } ✖️
button-negative-none = 🚫 Leave out…
button-negative = 🚫 Without { $words } ✖️

### /models and /limits.

models-title = 🖌 These can draw. Your choice stays until you make another.
models-of-chat = 🖌 These can draw. What an admin of this group chooses is for everybody here.
models-for-admins = In a group its admins choose the model. In our private chat it is yours to choose.
model-price = 💳 { $amount } { $currency } { $unit ->
    [megapixel] a megapixel
    [second] a second
   *[picture] a picture
}
model-price-unknown = 💳 Price not known
model-time = ⏱ Usually { $time }
button-model-default = As usual ({ $model })
limits-title = ⏳ What you can still ask for
limits-rate = { $left } of { $limit } requests in { $window ->
    [one] { $window } second
   *[other] { $window } seconds
}
limits-back = The next one comes back in { $seconds ->
    [one] { $seconds } second
   *[other] { $seconds } seconds
}
limits-active = Pictures in the works: { $number } of { $limit } at once
limits-day = Today: { $unit ->
    [pictures] { $left } of { $limit } pictures
   *[other] { $left } of { $limit } { $unit }
} left. A new day begins in about { $hours ->
    [one] { $hours } hour
   *[other] { $hours } hours
}.
limits-none = ✨ You have no limits here.

### Styles.

parameter-style = style
parameter-style-unknown = 🎭 I don’t know the style { $name }. { $number ->
    [0] There are no styles here yet.
   *[other] There are: { $known }.
}
styles-title = 🎭 Styles: press one to see it and to draw in it. In a text: a fox --style name
styles-none = 🎭 There are no styles here yet.
style-line = 🎭 { $name }: { $words }
style-enough = 🎭 There are { $number } styles, and no more fit in the list. Delete one first.
style-ask-name = 🎭 Send the style’s name: up to { $longest } letters, digits and spaces. The name of a style that is there changes that one.
style-ask-words = ✏️ Send the words that it adds to a description, for example: watercolour, soft light.
style-ask-sample = 🖼 Send a photo that shows the style.
style-ask-wish = ✏️ What shall I draw in the style { $name }?
dialog-styles = 🎭 In which style?
button-style = 🎭 Style: { $name }
button-style-none = 🎭 Style: none
button-style-use = 🎨 Draw in this style
button-style-new = ➕ New style
button-style-words = ✏️ Words
button-style-sample = 🖼 Sample
button-style-drop = 🗑 Delete

### Help with words.

button-improve = ✨ Improve my words
button-take = ✅ Take them
button-leave = ↩️ Keep mine
improve-asked = ✨ Let me think…
improve-failed = ✨ I couldn’t find better words right now. Yours are kept.
dialog-better = ✨ How about these words? Nothing is ordered until you press Draw.
voice-failed = 🎙 I couldn’t make out that voice message. Please write it, or say it once more.
