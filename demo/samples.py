"""Invented bank and card transactions in the format of `contracts/transactions.odcs.yaml`."""

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

HEADER = "id;description;amount;timestamp;merchant;operation_type;side"

# (description, merchant, smallest and largest amount in cents, operation type, side)
_KINDS = (
    ("GREENLEAF SUPERMARKET {number}", "Greenleaf", 350, 14_000, "payment", "debit"),
    ("BOULANGERIE DU PORT {town}", "Boulangerie du Port", 180, 2_400, "payment", "debit"),
    ("SQ *CORNER BISTRO {town}", "Corner Bistro", 900, 8_500, "payment", "debit"),
    ("PIZZERIA BELLA {town}", "Pizzeria Bella", 1_100, 6_400, "payment", "debit"),
    ("CITY METRO TOPUP {number}", "City Metro", 500, 5_000, "payment", "debit"),
    ("BLUE TAXI {town} {number}", "Blue Taxi", 700, 4_500, "payment", "debit"),
    ("NORTHERN RAIL TICKETS", "Northern Rail", 1_500, 18_000, "payment", "debit"),
    ("PETROL STATION {number} {town}", None, 2_000, 9_500, "payment", "debit"),
    ("STREAMBOX.COM MONTHLY", "Streambox", 799, 1_799, "direct_debit", "debit"),
    ("CINEMA PALACE {town}", "Cinema Palace", 800, 4_200, "payment", "debit"),
    ("MUNICIPAL WATER INV {number}", "Municipal Water", 1_900, 9_000, "direct_debit", "debit"),
    ("ELECTRICITY BILL REF {number}", None, 3_500, 21_000, "direct_debit", "debit"),
    ("HOTEL SEAVIEW {town}", "Hotel Seaview", 6_500, 48_000, "payment", "debit"),
    ("PHARMACY CENTRAL {number}", "Pharmacy Central", 350, 6_000, "payment", "debit"),
    ("DENTAL PRACTICE {town}", None, 4_000, 60_000, "payment", "debit"),
    ("FASHION OUTLET {number}", "Fashion Outlet", 1_500, 22_000, "payment", "debit"),
    ("HARDWARE & GARDEN {town}", "Hardware & Garden", 700, 31_000, "payment", "debit"),
    ("HOME INSURANCE PREMIUM {number}", None, 1_800, 9_900, "direct_debit", "debit"),
    ("MONTHLY RENT {town}", None, 60_000, 180_000, "transfer", "debit"),
    ("SALARY ACME LTD {number}", None, 150_000, 420_000, "transfer", "credit"),
    ("ATM WITHDRAWAL {number}", None, 2_000, 30_000, "payment", "debit"),
    ("REFUND FASHION OUTLET {number}", "Fashion Outlet", 1_500, 9_000, "refund", "credit"),
    ("COUNCIL TAX {town}", None, 8_000, 32_000, "direct_debit", "debit"),
    ("ANIMAL RESCUE DONATION", "Animal Rescue", 500, 10_000, "payment", "debit"),
)
_TOWNS = ("LYON", "PORTO", "LEEDS", "GENT", "BREMEN", "NANTES", "CORK", "TURIN")

# Each breaks a line in one way; the code is what the reject should say.
_FAULTS: dict[str, Callable[[list[str]], list[str]]] = {
    "invalid_amount": lambda cells: [*cells[:2], "twelve", *cells[3:]],
    "amount_precision": lambda cells: [*cells[:2], cells[2] + "5", *cells[3:]],
    "amount_sign": lambda cells: [*cells[:2], "-12,50", *cells[3:6], "credit"],
    "missing_description": lambda cells: [cells[0], "", *cells[2:]],
    "invalid_timestamp": lambda cells: [*cells[:3], "2024-02-30 10:00:00", *cells[4:]],
    "invalid_side": lambda cells: [*cells[:6], "sideways"],
    "wrong_field_count": lambda cells: cells[:5],
    "missing_transaction_id": lambda cells: ["", *cells[1:]],
}


def lines(count: int, *, seed: int, broken: float = 0.01) -> Iterator[str]:
    """That many records as lines of text, a share of them broken; the same for the same seed."""
    chance = random.Random(seed)
    start = datetime(2024, 1, 1)  # noqa: DTZ001 - the format's times are local
    for number in range(count):
        text, merchant, low, high, operation, side = chance.choice(_KINDS)
        cents = chance.randint(low, high) * (-1 if side == "debit" else 1)
        sign, cents = ("-" if cents < 0 else ""), abs(cents)
        moment = start + timedelta(seconds=chance.randrange(365 * 86_400))
        cells = [
            f"T{seed:02d}-{number:07d}",
            text.format(number=chance.randint(1, 400), town=chance.choice(_TOWNS)),
            f"{sign}{cents // 100},{cents % 100:02d}",
            f"{moment:%Y-%m-%d %H:%M:%S}",
            merchant or "",
            operation,
            side,
        ]
        if chance.random() < broken:
            cells = _FAULTS[chance.choice(list(_FAULTS))](cells)
        yield ";".join(cells)


def csv(count: int, *, seed: int, broken: float = 0.01) -> bytes:
    """The same as a file, with its header."""
    return "\n".join([HEADER, *lines(count, seed=seed, broken=broken), ""]).encode()
