### Paying with Telegram Stars, where the owner sells pictures.

refused-unpaid = 💫 { $left ->
    [0] You have no pictures left.
    [one] You have { $left } picture left, which is too few for this.
   *[other] You have { $left } pictures left, which are too few for this.
} More are in /buy.{ $share ->
    [0] {""}
    [one] {" "}{ $share } free one comes each day (UTC).
   *[other] {" "}{ $share } free ones come each day (UTC).
}
refused-unpaid-chat = 👤 Nobody has pictures in a chat’s name. Write as yourself: then it is your pictures that count.
button-buy = 💫 Buy pictures
button-pack = { $pictures ->
    [one] { $pictures } picture
   *[other] { $pictures } pictures
} for ⭐ { $stars }
button-monthly = { $pictures ->
    [one] { $pictures } picture
   *[other] { $pictures } pictures
} a month for ⭐ { $stars }
button-month-stop = ⏹ Stop the subscription
button-month-go-on = ▶️ Let the subscription go on
buy = 💫 Pictures for Telegram Stars. Each one counts once; what doesn’t become a picture comes back by itself. They don’t expire.
buy-elsewhere = 💫 That’s between the two of us: { $link }
balance-free = 🎁 Free today (UTC): { $free } of { $share }
balance-bought = 💫 Bought and not used: { $bought }
balance-owed = 💫 { $number ->
    [one] { $number } picture that you had was refunded
   *[other] { $number } pictures that you had were refunded
}; what you buy next pays for that first.
dialog-price = 💫 It takes { $count ->
    [one] { $count } picture
   *[other] { $count } pictures
} of the { $left } you have.
invoice = { $pictures ->
    [one] { $pictures } picture
   *[other] { $pictures } pictures
}
invoice-about = Made here for you, from your words or photos. What doesn’t become a picture comes back by itself.
checkout-month = You have a subscription already; /buy shows it.
checkout-changed = This offer has changed. Send /buy for the current ones.
paid = ✅ Thank you! { $pictures ->
    [0] The stars are here, but I don’t know for what: please write to /paysupport.
    [one] { $pictures } picture is yours to ask for.
   *[other] { $pictures } pictures are yours to ask for.
} Bought and not used: { $bought }.
paid-late = ✅ Your payment has only now come to my notice, sorry! { $pictures ->
    [0] I don’t know what for: please write to /paysupport.
    [one] { $pictures } picture is yours to ask for.
   *[other] { $pictures } pictures are yours to ask for.
} Bought and not used: { $bought }.
refunded = ↩️ Your stars are back with you, and { $pictures ->
    [one] { $pictures } picture is
   *[other] { $pictures } pictures are
} no longer yours to ask for. Bought and not used: { $bought }.
month-goes-on = 🔁 Your subscription is paid until { $until }, and goes on by itself.
month-stopped = ⏹ Your subscription ends on { $until }. Your pictures stay yours.
month-failed = 🔁 Telegram could not take the stars for your subscription, so no new pictures came this month.
paysupport = 🧾 Something wrong with a payment? Write it behind the command, such as: /paysupport I paid and got nothing. The owner answers you here. Telegram’s own support cannot help with it.
paysupport-sent = 🧾 Passed on to the owner, with your last payments.
paysupport-later = 🧾 I could not pass that on. Please try again in a minute.
paysupport-from = 🧾 { $user } writes about payments:
terms = 📜 Pictures are sold for Telegram Stars.

    • One that you ask for costs one, whatever it shows.
    • What ends without a picture comes back at once, as does what the filter refuses; not what you cancel while it is being drawn.
    • What you bought does not expire.{ $share ->
        [0] {""}
        [one] {" "}{ $share } picture a day is free, and goes first.
       *[other] {" "}{ $share } pictures a day are free, and go first.
    }
    • Stars for pictures that you have not asked for are refunded if you write to /paysupport within 21 days.
    • A subscription can be stopped at any time in /buy.
    • Pictures are made by machines: how well they come out is not promised. Don’t ask for what is against the law or Telegram’s rules.
redeem-how = 🎁 Write the code behind the command: /redeem CODE
redeem-ok = 🎁 { $pictures ->
    [one] { $pictures } picture is
   *[other] { $pictures } pictures are
} yours to ask for. Bought and not used: { $bought }.
redeem-known = 🎁 You have had the pictures of this code.
redeem-gone = 🎁 This code was used as often as it may.
redeem-unknown = 🎁 I don’t know this code.
redeem-later = 🎁 Too many codes that I don’t know. Please try again in an hour.
promo-usage = Usage: /promo CODE PICTURES [TIMES]. The code: 3-32 of A-Z 0-9 _ -. No pictures: it is taken back.
promo-made = 🎁 { $code } gives { $pictures ->
    [one] { $pictures } picture
   *[other] { $pictures } pictures
}, once a person: { $link }
promo-dropped = 🎁 { $code } gives nothing any more.
refund-unknown = I know of no such payment. Usage: /refund CHARGE_ID, as /paysupport shows it.
refund-not = Telegram does not refund it; its log says why.
refund-goes-on = ⚠️ Its subscription could not be stopped, and will be paid again; the log says why.
refund-stopped = ⏹ Its subscription is stopped.
refund-done = ↩️ ⭐ { $stars } went back to { $user }, { $pictures ->
    [one] { $pictures } picture
   *[other] { $pictures } pictures
} taken. They have { $bought } bought ones now.
delete-payments = 💫 What you paid for is not lost: { $bought ->
    [one] { $bought } picture stays yours
   *[other] { $bought } pictures stay yours
}. For that, and for the accounts, your number stays with { $payments ->
    [one] { $payments } payment
   *[other] { $payments } payments
} (day, stars, pictures; no words). A subscription is stopped in /buy.
