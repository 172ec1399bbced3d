"""What a run will cost, before it is paid for, and what it has cost."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from ramkit.errors import InputError

# Dollars for a million tokens, read and written, as published in 2025; a price that is given comes before them.
PRICES = {
    "gpt-4o": (2.50, 10.00),
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4.1": (2.00, 8.00),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4.1-nano": (0.10, 0.40),
    "gpt-3.5-turbo": (0.50, 1.50),
}
BATCH_DISCOUNT = 0.5
MESSAGE_TOKENS = 10  # that a chat format puts around one question
_ROUNDING = 1e-9  # dollars


@dataclass(frozen=True)
class Price:
    """Dollars for a million tokens."""

    read: float
    written: float

    def of(self, prompt_tokens: int, answer_tokens: int) -> float:
        return (prompt_tokens * self.read + answer_tokens * self.written) / 1_000_000


@dataclass(frozen=True)
class Plan:
    """What a run is about to ask."""

    model: str
    url: str
    tags: int
    answers: int  # that are wanted in all
    there: int  # of them, on disk already
    calls: int  # where the server gives several answers to a question
    calls_one_by_one: int  # where it gives one
    prompt_tokens: int  # about, and at most: as if each answer took a call of its own
    answer_tokens: int  # at most
    dollars: float | None  # at most; None where no price is known

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        cost = "no price known: give one with --price READ,WRITTEN" if self.dollars is None else f"${self.dollars:,.2f}"
        return [
            f"{self.model} at {self.url}",
            f"{self.answers:,} answers for {self.tags:,} tags, {self.there:,} of them there already",
            f"{self.calls:,} calls ({self.calls_one_by_one:,} if the server gives one answer a call)",
            f"at most some {self.prompt_tokens:,} tokens to read and {self.answer_tokens:,} to write",
            f"cost at most: {cost}",
        ]


@dataclass
class Purse:
    """The dollars that were agreed to: what a call may cost is set aside before it is made, so no run costs more."""

    price: Price
    agreed: float = math.inf
    spent: float = 0.0
    aside: float = 0.0  # for calls under way

    @property
    def busy(self) -> bool:
        """Whether calls are under way, which may cost less than was set aside."""
        return self.aside > _ROUNDING

    def set_aside(self, prompt_tokens: int, answer_tokens: int) -> float | None:
        """The dollars that a call of at most so many tokens may come to; None where less is left."""
        most = self.price.of(prompt_tokens, answer_tokens)
        if self.spent + self.aside + most > self.agreed + _ROUNDING:  # sums in another order differ in last digits
            return None
        self.aside += most
        return most

    def settle(self, most: float, prompt_tokens: int, answer_tokens: int) -> None:
        """Pay for a call, and take back what was set aside for it."""
        self.aside -= most
        self.spent += self.price.of(prompt_tokens, answer_tokens)


def price_of(model: str, given: str = "", *, local: bool = False, batch: bool = False) -> Price | None:
    """The price that is given as "READ,WRITTEN", else nothing for a local server, else from the table."""
    if given:
        price = read_price(given)
    elif local:
        return Price(0.0, 0.0)
    elif (name := _known_name(model)) is not None:
        price = Price(*PRICES[name])
    else:
        return None
    return Price(price.read * BATCH_DISCOUNT, price.written * BATCH_DISCOUNT) if batch else price


def read_price(text: str) -> Price:
    """ "0.15,0.60" → dollars for a million tokens read and written."""
    try:
        read, written = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--price {text}: not two numbers.", cure="Give READ,WRITTEN such as 0.15,0.60.") from None
    if not (read >= 0 and written >= 0):
        raise InputError(f"--price {text}: a price below nothing.", cure="Give READ,WRITTEN such as 0.15,0.60.")
    return Price(read, written)


def prompt_tokens_of(text: str) -> int:
    """About how many tokens a model reads in a prompt: four letters each, and what the chat format adds."""
    return len(text) // 4 + 1 + MESSAGE_TOKENS


def _known_name(model: str) -> str | None:
    """ "gpt-4o-mini-2024-07-18" is priced as "gpt-4o-mini"."""
    names = [name for name in PRICES if model == name or model.startswith(f"{name}-20")]
    return max(names, key=len, default=None)
