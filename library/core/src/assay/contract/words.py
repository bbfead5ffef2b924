"""Words by which suppliers call columns and values, in English, French, German and Spanish."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

_HEADERS: Final = {
    "transaction_id": """
        id, transaction id, transactionid, reference, ref, transaction reference, identifiant,
        id transaction, reference operation, transaktionsnummer, transaktions id, referenz,
        buchungsnummer, id transaccion, id de transaccion, referencia, numero de operacion
    """,
    "description": """
        description, details, label, narrative, memo, particulars, libelle, libelle operation,
        libelle de l operation, verwendungszweck, buchungstext, beschreibung, descripcion, concepto,
        detalle
    """,
    "amount": """
        amount, transaction amount, montant, montant operation, montant de l operation, betrag,
        umsatz, importe, cantidad, monto
    """,
    "currency": """
        currency, currency code, devise, monnaie, wahrung, waehrung, divisa, moneda
    """,
    "timestamp": """
        timestamp, date, datetime, date time, transaction date, posting date, booking date,
        date operation, date d operation, date de l operation, date comptable, datum, buchungstag,
        buchungsdatum, fecha, fecha operacion, fecha de operacion, fecha de la operacion
    """,
    "merchant": """
        merchant, merchant name, payee, beneficiary, counterparty, commercant, marchand,
        beneficiaire, handler, haendler, empfanger, empfaenger, begunstigter, comercio,
        comerciante, beneficiario
    """,
    "operation_type": """
        operation type, type, transaction type, type operation, type d operation,
        type de l operation, umsatzart, buchungsart, vorgang, tipo, tipo operacion,
        tipo de operacion
    """,
    "side": """
        side, direction, debit credit, credit debit, dr cr, cr dr, sens, sens operation,
        sens de l operation, soll haben, sentido, debe haber, cargo abono
    """,
    "mcc": "mcc, mcc code, code mcc, merchant category code, codigo mcc",
}
_VALUES: Final = {
    "side": {
        "debit": "debit, d, dr, db, debiteur, soll, s, debito, debe, cargo",
        "credit": "credit, c, cr, crediteur, haben, h, credito, haber, abono",
    },
    "operation_type": {
        "payment": """
            payment, purchase, card, card payment, paiement, achat, carte, paiement carte, zahlung,
            kartenzahlung, kauf, pago, compra, tarjeta
        """,
        "direct_debit": """
            direct debit, directdebit, dd, prelevement, lastschrift, domiciliacion, recibo
        """,
        "transfer": "transfer, virement, uberweisung, ueberweisung, transferencia",
        "refund": "refund, remboursement, erstattung, ruckerstattung, reembolso, devolucion",
    },
}


def plain(text: str) -> str:
    """A name or value without case, accents and punctuation."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return " ".join(re.findall(r"[a-z0-9]+", "".join(filter(_no_mark, letters))))


def _no_mark(character: str) -> bool:
    return not unicodedata.combining(character)


def _meanings(words: Mapping[str, str]) -> dict[str, str]:
    return {plain(word): meaning for meaning, many in words.items() for word in many.split(",")}


COLUMN_OF: Final = _meanings(_HEADERS)
"""The canonical column that a header, made plain, most likely means."""

VALUE_OF: Final = {column: _meanings(words) for column, words in _VALUES.items()}
"""The canonical value that a supplier's word, made plain, most likely means."""
