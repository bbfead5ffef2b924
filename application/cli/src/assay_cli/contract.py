"""The commands `assay contract new` and `assay contract validate`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from assay.contract.contract import Contract
from assay.contract.document import parse
from assay.contract.draft import Mark, draft, undecided
from assay.contract.problems import ContractError, Problem
from assay.domain.errors import CONFIGURATION, DONE, Fatal, Unreadable
from assay_cli import bootstrap
from assay_cli.output import Json, add, decoded, plain, print_json, say, show, table
from assay_cli.sample import Sample, read

app = typer.Typer(
    help="Draft contracts, which say how a supplier's files are read, and check them."
)

_HEAD: Final = 256 << 10  # bytes that a draft is made from
_RECORDS: Final = 1_000  # of a sample
_SHOWN: Final = 3  # rejects for each code


@app.command()
def new(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A path or s3://bucket/key; .gz and .zst too.")
    ],
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there, not to standard output.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace that file.")] = False,
) -> None:
    r"""Draft a contract from the head of a file, for you to finish.

    What the file alone cannot say is marked `# Decide:`. The header's names
    are in the draft, and no record's content.

    Example:
      assay contract new cards-2024-05.csv --out contracts/cards.odcs.yaml
      assay contract validate contracts/cards.odcs.yaml \
          --sample cards-2024-05.csv

    Exit codes: 0 drafted, 65 there is no such file or it is no delimited text,
    75 S3 is away, 78 settings are wrong or --out exists.
    """
    head = _head(bootstrap.blocks(file))
    try:
        text = draft(head, _name(file))
    except Unreadable as error:
        raise Unreadable(f"{file}: {error}") from None
    if out is None:
        typer.echo(text, nl=not text.endswith("\n"))
        return
    try:
        with out.open("w" if force else "x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError:
        raise Fatal(f"{out} exists; --force replaces it") from None
    except OSError as error:
        raise Fatal(f"{out} cannot be written: {error.strerror}") from None
    say(
        f"Wrote {plain(out)}, with {len(undecided(text))} places to decide: `assay contract "
        "validate` lists them.\nNo run takes a draft: decide, then set `status: active` in it."
    )


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Contracts.")],
    *,
    sample: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Read the head of this data file by the contract."),
    ] = None,
    content: Annotated[
        bool, typer.Option("--show", help="With --sample: print content of records as well.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what is wrong with contracts and what is left to decide, by line.

    With --sample also how the columns of a data file map, and which of its
    first 1,000 records would be rejected. Nothing is written, no model asked.

    Examples:
      assay contract validate contracts/*.odcs.yaml
      assay contract validate cards.odcs.yaml --sample cards-2024-05.csv.gz

    Exit codes: 0 all are valid, whatever a sample's rejects; 65 the sample
    cannot be read by the contract, 75 S3 is away, 78 a contract is wrong.
    """
    if sample is not None and len(files) != 1:
        raise Fatal("a sample is read by one contract: name one")
    verdicts = [_judge(each) for each in files]
    tried = None
    if sample is not None and verdicts[0].contract is not None:
        tried = read(verdicts[0].contract, sample, bootstrap.blocks(sample), _RECORDS)
    if as_json:
        document: dict[str, Any] = {"contracts": [each.document() for each in verdicts]}
        if tried is not None:
            document["sample"] = _sample_document(tried, content=content)
        print_json(document)
    else:
        for each in verdicts:
            _show_verdict(each)
        if tried is not None:
            _show_sample(tried, content=content)
    raise typer.Exit(CONFIGURATION if any(each.problems for each in verdicts) else DONE)


@dataclass(frozen=True)
class _Verdict:
    """What there is to say of one contract: either it compiles or it has problems."""

    file: Path
    contract: Contract | None = None
    undecided: tuple[Mark, ...] = ()
    problems: tuple[Problem, ...] = ()

    def document(self) -> dict[str, Any]:
        return {
            "file": str(self.file),
            "valid": self.contract is not None,
            "id": self.contract and self.contract.id,
            "version": self.contract and self.contract.version,
            "status": self.contract and self.contract.status,
            "undecided": [each._asdict() for each in self.undecided],
            "problems": [each._asdict() for each in self.problems],
        }


def _judge(file: Path) -> _Verdict:
    try:
        text = file.read_text("utf-8")
    except OSError as error:
        raise Fatal(f"the contract {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        return _Verdict(file, problems=(Problem(1, "", "this is no UTF-8"),))
    marks = tuple(undecided(text))
    try:
        return _Verdict(file, parse(text, str(file)), marks)
    except ContractError as error:
        return _Verdict(file, undecided=marks, problems=error.problems)


def _show_verdict(verdict: _Verdict) -> None:
    if verdict.contract is not None:
        contract = verdict.contract
        name = plain(f"{contract.id}, version {contract.version}, {contract.status}")
        say(f"{plain(verdict.file)}: [green]valid[/] ({name})")
        if not contract.in_force:
            say("No run takes its files before you set `status: active`; a dry run reads them.")
    for line, text in verdict.undecided:
        say(f"[bold]{plain(verdict.file)}:{line}[/]: [yellow]to decide[/]: {plain(text)}")
    for line, path, message in verdict.problems:
        where = f"{path}: " if path else ""
        say(f"[bold]{plain(verdict.file)}:{line}[/]: {plain(where + message)}")


def _head(blocks: Iterable[bytes]) -> bytes:
    head = bytearray()
    for block in blocks:
        head += block
        if len(head) >= _HEAD:
            break
    return bytes(head[:_HEAD])


def _name(file: str) -> str:
    """The file's name without folder and suffixes."""
    return file.rstrip("/").rpartition("/")[2].partition(".")[0] or file


def _sample_document(sample: Sample, *, content: bool) -> dict[str, Any]:
    return {
        "read": sample.records.height,
        "valid": sample.valid.height,
        "rejected": sample.rejects.height,
        "columns": sample.sources,
        "rejects": [
            {"position": row, "code": code, "field": field, "message": message}
            | ({"raw": decoded(sample.records["raw"][row])} if content else {})
            for row, code, field, message in _first(sample)
        ],
    }


def _show_sample(sample: Sample, *, content: bool) -> None:
    first = sample.valid.row(0, named=True) if content and sample.valid.height else {}
    columns = table("column", "is read from", *(["first record"] if first else []))
    for name, source in sample.sources.items():
        add(columns, name, source, *([str(first[name] or "")] if first else []))
    say()
    show(columns)
    say(
        f"\n{sample.records.height:,} records read: {sample.valid.height:,} valid, "
        f"{sample.rejects.height:,} would be rejected."
    )
    if sample.rejects.is_empty():
        return
    counts = table("records", "code", "field", numbers=("records",))
    by_code = (
        sample.rejects.group_by("code", "field")
        .len()
        .sort(["len", "code"], descending=[True, False])
    )
    for code, field, count in by_code.iter_rows():
        add(counts, count, code, field)
    say()
    show(counts)
    say()
    for row, code, _, message in _first(sample):
        say(f"position {row}: {plain(message)} ([yellow]{plain(code)}[/])")
        if content:
            say(f"  {plain(decoded(sample.records['raw'][row]))}")
    if not content:
        say("\n--show prints the records themselves.")


def _first(sample: Sample) -> Iterable[tuple[int, str, str | None, str]]:
    """The first rejects of each code."""
    shown = sample.rejects.group_by("code", maintain_order=True).head(_SHOWN).sort("row")
    return shown.select("row", "code", "field", "message").iter_rows()
