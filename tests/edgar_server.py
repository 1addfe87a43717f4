"""EDGAR on loopback: recordings in the SEC's own formats, of companies that do not exist, for the real edgartools.

    with EdgarServer() as server:
        server.add(COMPANY)
        subprocess.run([..., "dataset", "edgar", "QMRK"], env=server.environment(tmp_path))

It answers what edgartools asks for: the list of tickers, submissions (with older ones in a file of their own), company
facts, and filings as full text submissions. `requests` holds what was asked, with the time and the User-Agent.
`environment` also puts a `sitecustomize` before the process that lets no socket leave this machine.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

NO_NETWORK = """
import socket


def allowed(host):
    return host in (None, "", b"", "localhost", "::1") or str(host).startswith("127.")


def guard(function, host_of):
    def guarded(*arguments, **named):
        host = host_of(arguments)
        if not allowed(host):
            raise RuntimeError(f"a test asked for the network: {host}")
        return function(*arguments, **named)
    return guarded


def host_of_address(arguments):
    return arguments[1][0] if isinstance(arguments[1], tuple) else None


socket.getaddrinfo = guard(socket.getaddrinfo, lambda arguments: arguments[0])
socket.socket.connect = guard(socket.socket.connect, host_of_address)
socket.socket.connect_ex = guard(socket.socket.connect_ex, host_of_address)
socket.socket.sendto = guard(socket.socket.sendto, lambda arguments: host_of_address((None, arguments[-1])))
"""


@dataclass(frozen=True)
class Filing:
    """`exhibits` maps a type such as "EX-99.1" to its content; `report_date` is the period's last day."""

    accession: str
    form: str
    filed: str
    report_date: str = ""
    items: str = ""
    exhibits: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Company:
    """`facts` are rows of companyfacts: (concept with taxonomy, unit, start, end, value, Filing)."""

    cik: int
    name: str
    ticker: str
    filings: tuple[Filing, ...]
    facts: tuple[tuple[str, str, str, str, float, Filing], ...] = ()
    older: tuple[Filing, ...] = ()


@dataclass(frozen=True)
class Request:
    path: str
    at: float
    user_agent: str


def columns(filings: tuple[Filing, ...]) -> dict[str, list[Any]]:
    """Filings as submissions have them: a list a column."""
    return {
        "accessionNumber": [f.accession for f in filings],
        "filingDate": [f.filed for f in filings],
        "reportDate": [f.report_date or f.filed for f in filings],
        "acceptanceDateTime": [f"{f.filed}T20:05:12.000Z" for f in filings],
        "act": ["34" for _ in filings],
        "form": [f.form for f in filings],
        "fileNumber": ["001-99999" for _ in filings],
        "filmNumber": ["24000001" for _ in filings],
        "items": [f.items for f in filings],
        "core_type": [f.form for f in filings],
        "size": [100_000 for _ in filings],
        "isXBRL": [int(f.form != "8-K") for f in filings],
        "isInlineXBRL": [int(f.form != "8-K") for f in filings],
        "primaryDocument": ["main.htm" for _ in filings],
        "primaryDocDescription": [f.form for f in filings],
    }


def submissions(company: Company) -> dict[str, Any]:
    address = {
        "street1": "1 Quarry Lane",
        "street2": None,
        "city": "Dover",
        "stateOrCountry": "DE",
        "zipCode": "19901",
        "stateOrCountryDescription": "DE",
    }
    files = [{"name": f"CIK{company.cik:010d}-submissions-001.json", "filingCount": len(company.older)}]
    return {
        "cik": f"{company.cik:010d}",
        "entityType": "operating",
        "sic": "3559",
        "sicDescription": "Special Industry Machinery, NEC",
        "ownerOrg": "06 Technology",
        "insiderTransactionForOwnerExists": 0,
        "insiderTransactionForIssuerExists": 1,
        "name": company.name,
        "tickers": [company.ticker],
        "exchanges": ["NYSE"],
        "ein": "000000000",
        "description": "",
        "website": "",
        "investorWebsite": "",
        "category": "Large accelerated filer",
        "fiscalYearEnd": "1231",
        "stateOfIncorporation": "DE",
        "stateOfIncorporationDescription": "DE",
        "addresses": {"mailing": address, "business": address},
        "phone": "302-555-0100",
        "flags": "",
        "formerNames": [],
        "filings": {"recent": columns(company.filings), "files": files if company.older else []},
    }


def company_facts(company: Company) -> dict[str, Any]:
    taxonomies: dict[str, Any] = {}
    for concept, unit, start, end, value, filing in company.facts:
        taxonomy, _, name = concept.partition(":")
        entry = taxonomies.setdefault(taxonomy, {}).setdefault(name, {"label": name, "description": "", "units": {}})
        entry["units"].setdefault(unit, []).append(
            {
                **({"start": start} if start else {}),
                "end": end,
                "val": value,
                "accn": filing.accession,
                "fy": int(end[:4]),
                "fp": "FY" if filing.form.startswith("10-K") else "Q1",
                "form": filing.form,
                "filed": filing.filed,
            }
        )
    return {"cik": company.cik, "entityName": company.name, "facts": taxonomies}


def full_text(company: Company, filing: Filing) -> str:
    """The submission as one text file: a header, then every document."""
    day = filing.filed.replace("-", "")
    documents = {filing.form: "<html><body><p>Item 2.02</p></body></html>", **filing.exhibits}
    lines = [
        f"<SEC-DOCUMENT>{filing.accession}.txt : {day}",
        f"<SEC-HEADER>{filing.accession}.hdr.sgml : {day}",
        f"<ACCEPTANCE-DATETIME>{day}160512",
        f"ACCESSION NUMBER:\t\t{filing.accession}",
        f"CONFORMED SUBMISSION TYPE:\t{filing.form}",
        f"PUBLIC DOCUMENT COUNT:\t\t{len(documents)}",
        f"CONFORMED PERIOD OF REPORT:\t{day}",
        "ITEM INFORMATION:\t\tResults of Operations and Financial Condition",
        f"FILED AS OF DATE:\t\t{day}",
        f"DATE AS OF CHANGE:\t\t{day}",
        "",
        "FILER:",
        "",
        "\tCOMPANY DATA:\t",
        f"\t\tCOMPANY CONFORMED NAME:\t\t\t{company.name.upper()}",
        f"\t\tCENTRAL INDEX KEY:\t\t\t{company.cik:010d}",
        "\t\tSTANDARD INDUSTRIAL CLASSIFICATION:\tSPECIAL INDUSTRY MACHINERY, NEC [3559]",
        "\t\tIRS NUMBER:\t\t\t\t000000000",
        "\t\tSTATE OF INCORPORATION:\t\t\tDE",
        "\t\tFISCAL YEAR END:\t\t\t1231",
        "",
        "\tFILING VALUES:",
        f"\t\tFORM TYPE:\t\t{filing.form}",
        "\t\tSEC ACT:\t\t1934 Act",
        "\t\tSEC FILE NUMBER:\t001-99999",
        "\t\tFILM NUMBER:\t\t24000001",
        "",
        "\tBUSINESS ADDRESS:\t",
        "\t\tSTREET 1:\t\t1 QUARRY LANE",
        "\t\tCITY:\t\t\tDOVER",
        "\t\tSTATE:\t\t\tDE",
        "\t\tZIP:\t\t\t19901",
        "</SEC-HEADER>",
    ]
    for number, (kind, content) in enumerate(documents.items(), 1):
        suffix = "htm" if "<" in content else "txt"
        lines += [
            "<DOCUMENT>",
            f"<TYPE>{kind}",
            f"<SEQUENCE>{number}",
            f"<FILENAME>document{number}.{suffix}",
            f"<DESCRIPTION>{kind}",
            "<TEXT>",
            content,
            "</TEXT>",
            "</DOCUMENT>",
        ]
    return "\n".join([*lines, "</SEC-DOCUMENT>", ""])


class EdgarServer:
    """Serves recordings while in its `with` block. `status` other than 200 answers every request with it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.status = 200
        self._bodies: dict[str, bytes] = {"/files/company_tickers_mf.json": b'{"fields": [], "data": []}'}
        self._tickers: dict[str, Any] = {}
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            log_message: ClassVar[Any] = lambda *_: None

            def do_GET(self) -> None:
                agent = self.headers.get("User-Agent", "")
                recorder.requests.append(Request(self.path, time.monotonic(), agent))
                body = recorder._bodies.get(self.path) if recorder.status == 200 else b"no"
                self.send_response((200 if body is not None else 404) if recorder.status == 200 else recorder.status)
                self.send_header("Content-Type", "application/json" if self.path.endswith("json") else "text/plain")
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> EdgarServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, company: Company) -> None:
        self._tickers[str(len(self._tickers))] = {
            "cik_str": company.cik,
            "ticker": company.ticker,
            "title": company.name,
        }
        self._put("/files/company_tickers.json", self._tickers)
        cik = f"CIK{company.cik:010d}"
        self._put(f"/submissions/{cik}.json", submissions(company))
        if company.older:
            self._put(f"/submissions/{cik}-submissions-001.json", columns(company.older))
        if company.facts:
            self._put(f"/api/xbrl/companyfacts/{cik}.json", company_facts(company))
        for filing in (*company.filings, *company.older):
            folder = f"/Archives/edgar/data/{company.cik}/{filing.accession.replace('-', '')}"
            self._bodies[f"{folder}/{filing.accession}.txt"] = full_text(company, filing).encode()

    def _put(self, path: str, value: Any) -> None:
        self._bodies[path] = json.dumps(value).encode()

    def environment(self, home: Path, identity: str = "Test Person test@example.com") -> dict[str, str]:
        """For a subprocess: edgartools asks this server and keeps its files in `home`; no socket leaves the machine."""
        guard = home / "no-network"
        guard.mkdir(parents=True, exist_ok=True)
        (guard / "sitecustomize.py").write_text(NO_NETWORK)
        path = os.pathsep.join(filter(None, [str(guard), os.environ.get("PYTHONPATH", "")]))
        return {
            "EDGAR_BASE_URL": self.address,
            "EDGAR_DATA_URL": self.address,
            "EDGAR_LOCAL_DATA_DIR": str(home / "edgar"),
            "EDGAR_IDENTITY": identity,
            "HOME": str(home),
            "PYTHONPATH": path,
            "no_proxy": "127.0.0.1",
        }
