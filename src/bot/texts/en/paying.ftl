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
