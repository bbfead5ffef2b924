"""Words by which suppliers call columns and values, in six languages.

English, French, German, Spanish, Dutch and Italian headers are those of the exports of banks.
"""

import re
import unicodedata
from typing import Final

from assay.domain.rules import CURRENCIES

# Of each column the words in the order in which they are preferred: a transaction date goes before
# a posting date, and that before a value date. A word may stand in several columns.
_HEADERS: Final = {
    "transaction_id": """
        transaction id, transactionid, transaction number, transaction no, transaction nr,
        transaction identifier, trans id, trans no, trans number, txn id, txn no, txn number,
        transferwise id, id transaction, numero de transaction, numero transaction, transaktions id,
        transaktionsnummer, transaktions nr, buchungsnummer, id transaccion, id de transaccion,
        numero de transaccion, numero de operacion, numero operacion, transactie id,
        transactienummer, id transazione, numero transazione, id operazione, numero operazione, id,
        identifiant, transaction reference, transaction ref, txn ref, reference operation,
        transactiereferentie, reference number, reference no, reference, ref, ref no, referenz,
        referencia
    """,
    "description": """
        transaction description, transaction details, transaction detail, transaction narrative,
        description, details, narrative, narration, particulars, label, libelle, libelle de l
        operation, libelle operation, detail de l ecriture, libelle simplifie, verwendungszweck,
        beschreibung, avisierungstext, buchungsdetails, buchungstext, descripcion, concepto,
        detalle, detalles, omschrijving, naam omschrijving, omschrijving 1, mededelingen,
        descrizione, descrizione completa, descrizione operazione, causale, dettagli, original
        description, payment details, payment reference, description 1, name, memo, reference, ref,
        operazione, transaction, notes
    """,
    "amount": """
        transaction amount, amount, trans amount, txn amount, montant de l operation, montant
        operation, montant, betrag, umsatz, transaktionsbetrag, importe, monto, cantidad, bedrag,
        transactiebedrag, importo, amount in account currency, gross, value, sum
    """,
    "debit": """
        paid out, money out, debit, debits, debit amount, amount debit, withdrawal, withdrawals,
        withdrawal amount, withdrawal amt, amount out, out, debit montant, montant debit, soll,
        sollbetrag, belastung, belastungen, lastschrift, ausgang, ausgabe, ausgaben, cargo, cargos,
        debe, gasto, gastos, af, uit, uitgaven, debet, dare, uscite, uscita, addebito, addebiti
    """,
    "credit": """
        paid in, money in, credit, credits, credit amount, amount credit, deposit, deposits, deposit
        amount, deposit amt, amount in, in, credit montant, montant credit, haben, habenbetrag,
        gutschrift, gutschriften, eingang, einnahme, einnahmen, abono, abonos, haber, ingreso,
        ingresos, bij, inkomsten, avere, entrate, entrata, accredito, accrediti
    """,
    "currency": """
        transaction currency, currency code, currency, ccy, devise, code devise, monnaie, wahrung,
        waehrung, divisa, moneda, munt, valuta
    """,
    "timestamp": """
        timestamp, transaction timestamp, transaction date time, transaction datetime, transaction
        date, transactiondate, trans date, txn date, transaction time, purchase date, started date,
        date de l operation, date d operation, date operation, dateop, date de transaction, date
        transaction, transaktionsdatum, umsatzdatum, kaufdatum, belegdatum, fecha de la operacion,
        fecha de operacion, fecha operacion, fecha transaccion, transactiedatum, data operazione,
        data transazione, datetime, date time, date, datum, fecha, data, completed date, posted
        date, post date, posting date, date posted, booking date, booked date, entry date, date de
        comptabilisation, date comptable, buchungsdatum, buchungstag, buchung, fecha contable,
        boekdatum, boekingsdatum, data contabile, data registrazione, data di registrazione, process
        date, processed date, date processed, settlement date, value date, valuedate, value dt,
        effective date, date de valeur, date valeur, dateval, wert, wertstellung,
        wertstellungsdatum, valutadatum, fecha valor, fecha de valor, f valor, rentedatum, interest
        date, data valuta, valuta
    """,
    "merchant": """
        merchant name, merchant, payee name, payee, counterparty name, counterparty, counter party,
        partner name, beneficiary name, beneficiary, supplier, commercant, marchand, beneficiaire,
        supplierfound, handler, haendler, empfanger, empfaenger, zahlungsempfanger,
        zahlungsempfaenger, zahlungsempfanger in, begunstigter, beguenstigter, begunstigter
        zahlungspflichtiger, beguenstigter zahlungspflichtiger, begunstigter auftraggeber,
        beguenstigter auftraggeber, auftraggeber empfanger, auftraggeber empfaenger, name
        zahlungsbeteiligter, comercio, comerciante, beneficiario, naam tegenpartij, tegenpartij,
        esercente, name
    """,
    "operation_type": """
        operation type, transaction type, trans type, txn type, type of transaction, type de l
        operation, type d operation, type operation, type de transaction, umsatzart, buchungsart,
        transaktionstyp, vorgang, tipo de operacion, tipo operacion, tipo de transaccion, tipo de
        movimiento, mutatiesoort, transactietype, tipo operazione, tipo transazione, type, tipo
    """,
    "side": """
        side, direction, debit credit, credit debit, debit or credit, dr cr, cr dr, d c, dc, credit
        debit indicator, debit credit indicator, sens, sens de l operation, sens operation, soll
        haben, s h, umsatztyp, sentido, debe haber, cargo abono, af bij, bij af, dare avere,
        transaction type, trans type, txn type, operation type, type, tipo, transaction, details
    """,
    "mcc": """
        mcc, mcc code, merchant category code, merchant category code mcc, code mcc, codigo mcc,
        merchant category
    """,
}
_VALUES: Final = {
    "side": {
        "debit": """
            debit, debits, d, dr, db, dbit, debiteur, soll, s, debito, debe, cargo, af, dare,
            uscita, addebito, ausgang, withdrawal, paid out, money out, out
        """,
        "credit": """
            credit, credits, c, cr, crdt, crediteur, haben, h, credito, haber, abono, bij, avere,
            entrata, accredito, eingang, deposit, paid in, money in, in
        """,
    },
    "operation_type": {
        "payment": """
            payment, purchase, sale, card, card payment, card purchase, debit card, deb, pos,
            paiement, achat, carte, paiement carte, paiement par carte, zahlung, kartenzahlung,
            kauf, pago, compra, tarjeta, pago con tarjeta, betaalautomaat, pagamento, acquisto,
            pagamento pos
        """,
        "direct_debit": """
            direct debit, directdebit, dd, prelevement, lastschrift, folgelastschrift,
            domiciliacion, recibo, incasso, addebito diretto
        """,
        "transfer": """
            transfer, tfr, bank transfer, wire transfer, faster payment, fpo, fpi, standing order,
            so, virement, uberweisung, ueberweisung, dauerauftrag, transferencia, overschrijving,
            overboeking, bonifico
        """,
        "refund": """
            refund, card refund, return, remboursement, erstattung, ruckerstattung, rueckerstattung,
            reembolso, devolucion, terugbetaling, rimborso
        """,
    },
}
_CURRENCY: Final = re.compile(rf"(?: in)? (?:euros?|{'|'.join(sorted(CURRENCIES)).casefold()})$")


def plain(text: str) -> str:
    """A name or value without case, accents and punctuation; `#` is a number."""
    letters = unicodedata.normalize("NFKD", text.casefold().replace("#", " number "))
    return " ".join(re.findall(r"[a-z0-9]+", "".join(filter(_no_mark, letters))))


def _no_mark(character: str) -> bool:
    return not unicodedata.combining(character)


def spellings(header: str) -> list[str]:
    """What of a header may be the word: all, or what stands before or in parentheses.

    The name of a currency at its end is no part of it.
    """
    inside = re.search(r"\((.*)\)", header)
    parts = (header, header.partition("(")[0], inside[1] if inside else "")
    words = [plain(part) for part in parts]
    return [*words, *(_CURRENCY.sub("", word) for word in words[:2])]


def _ranked(words: str) -> dict[str, int]:
    return {word: rank for rank, word in enumerate(map(plain, words.split(",")))}


RANKS: Final = {column: _ranked(words) for column, words in _HEADERS.items()}
"""The plain headers that a canonical column, or one of an amount's two, may have; 0 is the best."""

VALUE_OF: Final = {
    column: {plain(word): meaning for meaning, many in words.items() for word in many.split(",")}
    for column, words in _VALUES.items()
}
"""The canonical value that a supplier's word, made plain, most likely means."""
