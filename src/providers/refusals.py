"""What a provider's refusal means: one function decides, from status, code, type and message.

Providers and gateways word the same few reasons in dozens of ways. Told apart here is what follows from them: a
refusal of the prompt is the person's affair, never a reason to shut the provider or to ask another; a spent balance,
a refused key and a model that is gone are the owner's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from src.providers.base import ErrorKind, ProviderError
from src.providers.http import Answer

# Words and numbers only: a code can be logged, and a key or a sentence never passes for one.
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,47}|\d{1,6}")
_DEEPEST = 6
_LONGEST = 4000
_SURELY_QUOTED = 24

# Codes are compared without their punctuation, in lower case. The first that matches decides.
_CODES: tuple[tuple[ErrorKind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (
            ErrorKind.MODERATED_INPUT,
            r"moderat|contentpolic|contentfilter|contentsafety|policyviolation|responsibleai|datainspection"
            r"|sensitive|nsfw|prohibited|blocklist|riskcontrol|promptblocked|imageblocked|flagged"
            r"|safety(?:$|block|violat|error|system|check|filter)",
        ),
        (
            ErrorKind.QUOTA,
            r"insufficient\w*(?:quota|credit|balance|fund)|billing|quota(?:exceed|exhaust|notenough)|tokenquota"
            r"|(?:credit|balance)s?(?:exhaust|insufficient|notenough|depleted)|arrear|overdue|paymentrequired"
            r"|outofcredit|nocredit|notenough(?:credit|balance)",
        ),
        (ErrorKind.RATE_LIMITED, r"ratelimit|toomanyrequests|throttl"),
        (
            ErrorKind.MODEL_GONE,
            r"modelnot|(?:unknown|invalid|unsupported|nosuch|deprecated|retired)model(?:$|name|id|error)"
            r"|model(?:deprecated|retired|unavailable|closed|isdeprecated)",
        ),
        (
            ErrorKind.AUTH,
            r"(?:invalid|incorrect|missing|expired|revoked|disabled|bad|wrong)\w*(?:key|token|credential|auth)"
            r"|apikey\w*(?:invalid|expired|blocked|disabled)"
            r"|unauthori[sz]ed|authentication|nodbconnection|unsupportedcountry|accountdeactivated|accountsuspended"
            r"|insufficientpermission|permissiondenied|organi[sz]ation|accessdenied|iprestrict|ipnotallowed",
        ),
        (ErrorKind.BAD_SOURCE, r"invalidimage|imagetoolarge|imageformat|imageparse|unsupportedimage"),
    )
)

_WORDS: tuple[tuple[ErrorKind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        (
            ErrorKind.MODERATED_INPUT,
            r"\bsafety\b|inappropriate|prohibited use|flagged as sensitive|filtered out|content[ _-]?(?:policy|policies|moderation|filter|safety|restriction)|moderat(?:ion|ed|or)"
            r"|safety[ _-](?:system|filter|check|polic|guideline|setting|reason|violation|standard)"
            r"|contentpolicyviolation|flagged|(?:usage|acceptable use|community|our) (?:polic|guidelines)"
            r"|violat\w* .{0,60}(?:polic|guideline|terms|rules)|policy violation|nsfw|responsible ai"
            r"|(?:inappropriate|prohibited|sensitive|unsafe|explicit|forbidden|disallowed) "
            r"(?:content|material|information|words?|image|prompt)|blocked (?:by|due to|for) .{0,40}(?:filter|safety|polic)"
            r"|sexual|data ?inspection|敏感|违规|审核|不合规"
            r"|модерац|цензур|запрещ[её]нн\w+ (?:контент|содерж|слов)|наруша\w+ .{0,40}(?:правил|политик)"
            r"|фильтр\w* (?:безопасн|контент|содерж)|политик\w+ (?:безопасн|контент|использован)",
        ),
        (
            ErrorKind.QUOTA,
            r"insufficient (?:\w+ )?(?:quota|credit|balance|fund)|(?:quota|credits?|balance)\b.{0,40}"
            r"(?:exceeded|exhausted|insufficient|not enough|depleted|too low|used up|run out)"
            r"|exceeded your current quota|out of credits|no credits|any credits|not enough (?:credit|balance|fund|money)"
            r"|billing (?:hard )?limit|billing details|top[ -]?up|payment required|recharge|余额|额度|欠费"
            r"|недостаточно (?:средств|кредит|баланс|денег)|пополн\w+ (?:баланс|сч[её]т)|баланс\w* (?:исчерпан|недостаточ)",
        ),
        (
            ErrorKind.MODEL_GONE,
            r"\bmodels?\b.{0,120}(?:does(?: not|n't) exist|not found|not exist|not supported|not available"
            r"|unavailable|deprecated|retired|shut down|decommissioned|no longer|unknown|is not valid|not a valid)"
            r"|(?:unknown|invalid|unsupported|no such|not a valid|no available channel for|no endpoints found for) "
            r"model|no endpoints found|模型不存在|модел\w+ .{0,60}(?:не найден|недоступн|не существ|не поддерж)",
        ),
        (
            ErrorKind.AUTH,
            r"api[ _-]?key|access token|\btoken\b.{0,30}(?:invalid|expired|disabled|not allowed)|credential|unauthori[sz]ed"
            r"|authenticat|permission|organi[sz]ation|not authori[sz]ed|country|region|territory"
            r"|account .{0,40}(?:suspended|disabled|deactivated|banned|blocked)|\bip\b.{0,40}(?:allow|whitelist|range|address)",
        ),
    )
)
# A quota by the minute is a rate; a parameter that a model does not know is no unknown model.
_OF_RATE = re.compile(r"per (?:minute|second|min)\b|rate[ _-]?limit", re.IGNORECASE)
_OF_PARAMETER = re.compile(r"param|argument|(?:size|quality|format|resolution|ratio)s?\b", re.IGNORECASE)
_OF_OUTPUT = re.compile(r"generated (?:image|content|picture)|\boutput|результат|生成的", re.IGNORECASE)
# What only stands in an answer about the prompt: OpenRouter's `reasons`, Azure's and xAI's filter results.
_SIGNS = frozenset({"reasons", "flagged_input", "safety_violations", "moderation", "contentfilter"})
_UNSAFE = ("low", "medium", "high")
# What stands under these names is what we sent, or says nothing.
_NOT_OURS = frozenset({"prompt", "request", "input", "id", "request_id", "model", "data", "ctx"})
_SENTENCES = frozenset({"message", "msg", "detail", "description", "title", "error_message", "error_msg"})
_CODE_NAMES = frozenset(
    {"error", "errors", "type", "name", "reason", "status", "error_code", "err_code", "error_type", "errcode"}
)


@dataclass(frozen=True, slots=True)
class Said:
    """What an error answer says, whatever its form.

    Attributes:
        codes: its short words (code, type, name, reason), as they are. text: its sentences.
        params: names of parameters it complains of. signs: it has a field that only refusals of a prompt have.
    """

    codes: tuple[str, ...]
    text: str
    params: frozenset[str]
    signs: bool


def refusal(answer: Answer, prompt: str = "", said: Said | None = None) -> ProviderError:
    """The error that an answer without a picture is.

    Args:
        prompt: the person's words, which are not to be taken for the provider's.
        said: what it says, where that is not all of it.
    """
    said = said or read(answer)
    status = answer.status
    kind = kind_of(status, said, prompt)
    shown = next((word for word in map(safe_code, said.codes) if word), "")
    return ProviderError(
        kind,
        shown or f"http_{status}",
        retry_after=answer.retry_after,
        status=status,
        submitted=kind in _OPEN and may_have_run(status),
        request_id=answer.request_id,
    )


def at_the_door(answer: Answer, at: str, key: str) -> str:
    """Why a server refuses a harmless question: for the country it comes from, or else for the key.

    Args:
        at: its address. key: the setting that holds the key.
    """
    if re.search(r"country|region|territory|user location", str(read(answer)), re.IGNORECASE):
        return (
            f"{at} does not serve the country this runs in ({answer.status}): use another place, or PROXY_URL"
        )
    return f"{at} refuses the key ({answer.status}): check {key}"


# Kinds that leave open whether the work was done.
_OPEN = frozenset({ErrorKind.UPSTREAM, ErrorKind.OVERLOADED, ErrorKind.TIMEOUT})


def kind_of(status: int, said: Said, prompt: str = "") -> ErrorKind:
    """What a refusal means. A 403 that does not say why counts as the request's own fault: see `unclear`."""
    for kind, pattern in _CODES:
        if any(pattern.search(_plain(code)) for code in said.codes):
            return _side(kind, said)
    text = without(said.text, prompt)
    if said.signs:
        return _side(ErrorKind.MODERATED_INPUT, said)
    for kind, pattern in _WORDS:
        if pattern.search(text) and _believed(kind, status, text):
            if kind is not ErrorKind.MODERATED_INPUT and pattern.search(prompt):
                # It may be quoting, and whom that concerns says so of other prompts too.
                continue
            return _side(kind, said)
    if status == 401:
        return ErrorKind.AUTH
    if status == 451:
        return ErrorKind.MODERATED_INPUT
    if status in (413, 415) or ("image" in said.params and status in (400, 422)):
        return ErrorKind.BAD_SOURCE
    if status in (404, 405, 410):
        # No task was asked for: it is the model or the address that does not exist.
        return ErrorKind.MODEL_GONE
    if status == 403:
        return ErrorKind.INVALID_REQUEST
    return ErrorKind.UPSTREAM if status < 300 else kind_of_status(status)


def kind_of_words(
    text: str, prompt: str = "", otherwise: ErrorKind = ErrorKind.MODERATED_OUTPUT
) -> ErrorKind:
    """What a sentence means that a model may have said: whoever asks can have it say anything, also that the balance is
    spent. So it is a refusal of the prompt, or `otherwise`, and never the owner's affair."""
    kind = kind_of(200, Said((), text, frozenset(), False), prompt)
    return kind if kind in (ErrorKind.MODERATED_INPUT, ErrorKind.MODERATED_OUTPUT) else otherwise


def unclear(error: ProviderError) -> bool:
    """A 403 which does not say whether it is the key or the prompt that is refused."""
    return error.status == 403 and error.kind is ErrorKind.INVALID_REQUEST


def without(text: str, prompt: str) -> str:
    """A provider's sentence without the person's words, where it quotes them. A short prompt may be a word of the
    provider's own, so it has to stand in quotation marks."""
    if len(prompt) >= _SURELY_QUOTED:
        return text.replace(prompt, " ")
    return re.sub(rf"""(["'`“«]){re.escape(prompt)}["'`”»]""", " ", text) if prompt else text


def withheld(content: Any, depth: int = 0) -> bool:
    """Does an answer of success say that its picture was withheld? (Azure and several gateways.)"""
    if isinstance(content, list):
        return depth < _DEEPEST and any(withheld(item, depth + 1) for item in content[:16])
    if not isinstance(content, dict):
        return False
    if str(content.get("finish_reason")).lower() in ("content_filter", "content_filtered", "safety"):
        return True
    if content.get("respect_moderation") is False:
        # xAI
        return True
    for name in ("content_filter_results", "prompt_filter_results"):
        if _filtered(content.get(name)):
            return True
    flags = content.get("has_nsfw_concepts")
    if isinstance(flags, list) and True in flags:
        return True
    inner = (content.get(name) for name in ("data", "images", "output"))
    return depth < _DEEPEST and any(
        withheld(part, depth + 1) for part in inner if isinstance(part, list | dict)
    )


def borderline(content: Any, depth: int = 0) -> bool:
    """Does an answer say of its picture, which passed the filter, that it is not safe for everybody? (Azure.)"""
    if isinstance(content, list):
        return depth < _DEEPEST and any(borderline(item, depth + 1) for item in content[:16])
    if not isinstance(content, dict):
        return False
    found = content.get("content_filter_results")
    verdicts = found.values() if isinstance(found, dict) else ()
    if any(isinstance(verdict, dict) and verdict.get("severity") in _UNSAFE for verdict in verdicts):
        return True
    inner = (content.get(name) for name in ("data", "images", "output"))
    return depth < _DEEPEST and any(
        borderline(part, depth + 1) for part in inner if isinstance(part, list | dict)
    )


def read(answer: Answer) -> Said:
    """What an error answer says: JSON in any arrangement, or a few words of text."""
    try:
        content = answer.json()
    except ValueError:
        text = answer.body[:_LONGEST].decode("utf-8", "replace").strip()
        # A page is a firewall's or a proxy's; its words are not about the prompt.
        return Said((), "" if text.startswith("<") else text, frozenset(), False)
    return read_content(content)


def read_content(content: Any) -> Said:
    """The same of what stood in it."""
    codes: list[str] = []
    texts: list[str] = []
    params: set[str] = set()
    signs = _gather("error", content, codes, texts, params)
    return Said(tuple(codes), " ".join(texts)[:_LONGEST], frozenset(params), signs)


def _gather(
    name: str, part: Any, codes: list[str], texts: list[str], params: set[str], depth: int = 0
) -> bool:
    """Sort what stands under a name into codes, sentences and names of parameters; whether it has the sign of a
    refused prompt."""
    if depth > _DEEPEST or name in _NOT_OURS:
        return False
    if name in _SIGNS and part:
        return True
    if name.startswith(("content_filter", "contentfilter")) and part:
        return not isinstance(part, dict | list) or _filtered(part)
    if isinstance(part, list):
        if name == "loc":
            params.update(map(str, part))
            return False
        return sum(_gather(name, item, codes, texts, params, depth + 1) for item in part[:16]) > 0
    if isinstance(part, dict):
        # Each is gone through: a sum does not stop at the first sign.
        return (
            sum(
                _gather(str(key).lower(), value, codes, texts, params, depth + 1)
                for key, value in part.items()
            )
            > 0
        )
    if isinstance(part, bool):
        return False
    if name == "param" and isinstance(part, str):
        params.add(part)
    elif isinstance(part, str) and (
        name in _SENTENCES or re.search(r"\s", part.strip()) or not part.isascii()
    ):
        texts.append(part)
    elif name == "code":
        codes.insert(0, str(part))
    elif name in _CODE_NAMES and isinstance(part, str):
        codes.append(part)
    return False


def _filtered(found: Any) -> bool:
    verdicts = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return any(
        isinstance(verdict, dict) and (verdict.get("filtered") is True or _filtered(verdict))
        for verdict in verdicts
    )


def _believed(kind: ErrorKind, status: int, text: str) -> bool:
    """Whether a sentence may say this under that status."""
    if kind is ErrorKind.AUTH:
        return status == 403
    if kind is ErrorKind.MODEL_GONE:
        return status in (400, 403, 404, 405, 410, 422, 500, 501, 503) and not _OF_PARAMETER.search(text)
    if kind is ErrorKind.QUOTA:
        return (status < 300 or 400 <= status < 500) and not (status == 429 and _OF_RATE.search(text))
    return status not in (401, 402, 429)


def _side(kind: ErrorKind, said: Said) -> ErrorKind:
    """Whether it was the prompt or what was drawn that is refused."""
    if kind is ErrorKind.MODERATED_INPUT and _OF_OUTPUT.search(" ".join((*said.codes, said.text))):
        return ErrorKind.MODERATED_OUTPUT
    return kind


def _plain(code: str) -> str:
    return re.sub(r"[^a-z0-9]", "", code.lower())


def safe_code(value: object) -> str:
    """A provider's error code if it is a plain word or number that can be logged, else ''."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = str(value) if isinstance(value, str) or abs(value) < 1_000_000 else ""
    return text if _CODE.fullmatch(text) else ""


def kind_of_status(status: int) -> ErrorKind:
    """What an HTTP status of 300 and above means when the body says nothing more."""
    if status in (401, 403):
        return ErrorKind.AUTH
    if status == 402:
        return ErrorKind.QUOTA
    if status == 404:
        return ErrorKind.NOT_FOUND
    if status in (408, 504, 524):
        return ErrorKind.TIMEOUT
    if status == 429:
        return ErrorKind.RATE_LIMITED
    if status in (409, 425, 503, 529):
        return ErrorKind.OVERLOADED
    if 400 <= status < 500:
        return ErrorKind.INVALID_REQUEST
    return ErrorKind.UPSTREAM


def may_have_run(status: int) -> bool:
    """Does this status leave open whether the server behind the gateway did the work?"""
    return status in (408, 502, 504) or 520 <= status <= 527
