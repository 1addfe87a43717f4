# ruff: noqa: E501  (lists of names)
"""Invented companies and their calendars. No company here exists, and no person is named."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

_HEADS = [
    "Quell",
    "Varn",
    "Tessel",
    "Orrin",
    "Halden",
    "Ostrel",
    "Culver",
    "Drayle",
    "Ember",
    "Fenner",
    "Garro",
    "Hollin",
    "Irid",
    "Jorvi",
    "Keld",
    "Lorran",
    "Marrow",
    "Nettle",
    "Oster",
    "Pellam",
    "Quarl",
    "Ruskin",
    "Sorrel",
    "Thorn",
    "Umber",
    "Vesp",
    "Wexel",
    "Yarrow",
    "Zelph",
    "Alder",
    "Bramble",
    "Cindle",
    "Dunnel",
    "Eskar",
    "Farrow",
    "Gimlet",
    "Hesper",
    "Inver",
    "Jasso",
    "Kirren",
    "Lathe",
    "Morrel",
    "Norrel",
    "Ottery",
    "Pruden",
    "Quince",
    "Ravel",
    "Sedge",
    "Tolver",
    "Ulver",
    "Verrin",
    "Wharle",
    "Yestin",
    "Zorrel",
    "Ambry",
    "Belder",
    "Corvel",
    "Dorrin",
    "Elver",
    "Fisken",
]
_TAILS = [
    "mark",
    "wick",
    "field",
    "stone",
    "well",
    "gate",
    "ridge",
    "ford",
    "haven",
    "bridge",
    "moor",
    "crest",
    "ley",
    "combe",
    "dale",
    "holt",
]
_ENDINGS = {
    "$": ("Inc.", "Corporation", "Holdings, Inc.", "Company", "Co., Inc.", "Corp.", "Group, Inc."),
    "C$": ("Inc.", "Ltd.", "Corporation"),
    "A$": ("Limited", "Group Limited"),
    "£": ("plc", "Group plc", "Holdings plc"),
    "€": ("SE", "N.V.", "S.A.", "AG"),
    "CHF ": ("AG", "Holding AG"),
    "SEK ": ("AB", "Group AB"),
    "RMB ": ("Holdings Limited", "Group Holding Limited", "Inc."),
    "¥": ("Co., Ltd.", "Holdings, Inc."),
}


@dataclass(frozen=True)
class Sector:
    """What a company does, and which layout its income statement has."""

    word: str
    lines: tuple[str, ...]
    books: str = "goods"


SECTORS = (
    Sector("Instruments", ("industrial sensors", "process analyzers", "calibration services")),
    Sector("Foods", ("frozen vegetables", "ready meals", "bakery ingredients")),
    Sector("Logistics", ("refrigerated freight", "parcel sorting", "warehouse leasing"), "services"),
    Sector("Therapeutics", ("infusion pumps", "specialty injectables", "contract manufacturing"), "research"),
    Sector("Software", ("billing software", "scheduling software", "hosting services"), "research"),
    Sector("Materials", ("coated paper", "glass fiber", "specialty resins")),
    Sector("Energy Services", ("well testing", "pressure control", "pipeline inspection"), "services"),
    Sector("Outfitters", ("work clothing", "footwear", "online sales"), "retail"),
    Sector("Marine", ("harbor tugs", "dredging", "ship repair"), "services"),
    Sector("Controls", ("valve actuators", "motor drives", "safety relays")),
    Sector("Dental", ("implants", "imaging equipment", "aligners"), "research"),
    Sector("Staffing", ("nurse placement", "light industrial staffing", "executive search"), "services"),
    Sector("Home", ("kitchen cabinets", "bath fixtures", "window treatments"), "retail"),
    Sector("Semiconductor", ("power converters", "timing circuits", "test sockets"), "research"),
    Sector("Packaging", ("folding cartons", "closures", "protective mailers")),
    Sector("Learning", ("licensure courses", "school textbooks", "tutoring centers"), "services"),
    Sector("Water", ("filtration skids", "metering", "leak detection")),
    Sector("Motors", ("truck axles", "brake systems", "fleet telematics")),
)
BANK = Sector("Bancorp", ("commercial real estate loans", "residential mortgages", "equipment finance"), "bank")
REALTY = Sector("Realty Trust", ("light industrial parks", "self-storage sites", "medical offices"), "realty")
CITIES = {
    "$": (
        "ASHCOMBE, Ohio",
        "PORT ELLERY, Maine",
        "DUNMORE FALLS, Idaho",
        "KESTREL BAY, Oregon",
        "MILLHAVEN, Texas",
        "SALT FORK, Utah",
    ),
    "C$": ("UPPER TARRIN, Ontario", "LAC-SAINT-ORME, Quebec"),
    "A$": ("Wattle Creek, Victoria", "Port Marlowe"),
    "£": ("Norrington", "Little Haverby"),
    "€": ("Veldstede", "Grauenbach", "Saint-Aurèle"),
    "CHF ": ("Oberwil am Stein", "Lauterfeld"),
    "SEK ": ("Norrvik", "Ekhamn"),
    "RMB ": ("LINHAI PORT, China", "QINGSHAN, China"),
    "¥": ("Minamihara",),
}
ORDINALS = ("first", "second", "third", "fourth")
LENGTHS = {3: "Three", 6: "Six", 9: "Nine", 12: "Twelve"}
WEEKS = {3: "13", 6: "26", 9: "39", 12: "52"}
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


@dataclass(frozen=True)
class Company:
    name: str
    short: str
    city: str
    sector: Sector
    ticker: str

    @property
    def lines(self) -> tuple[str, ...]:
        return self.sector.lines


def draw_company(random: Random, number: int, symbol: str, sector: Sector | None = None) -> Company:
    """The company of this number (below 960): numbers have names of their own."""
    head, tail = _HEADS[number % len(_HEADS)], _TAILS[(number // len(_HEADS) + 5 * number) % len(_TAILS)]
    short = head + tail
    sector = sector or random.choice(SECTORS)
    ending = random.choice(_ENDINGS[symbol])
    name = f"{short} {sector.word} {ending}" if random.random() < 0.6 else f"{short} {ending}"
    if sector.books == "bank":
        name = f"{short} {random.choice(('Bancorp', 'Bancorp, Inc.', 'Financial Corporation', 'Bancshares, Inc.'))}"
    elif sector.books == "realty":
        name = f"{short} {random.choice(('Realty Trust', 'Realty Trust, Inc.', 'Properties Trust', 'Property Trust, Inc.'))}"
    consonants = [letter for letter in short.upper()[1:] if letter not in "AEIOUY"]
    return Company(name, short, random.choice(CITIES[symbol]), sector, short[0].upper() + "".join(consonants[:3]))


@dataclass(frozen=True)
class Calendar:
    """The reported period: the quarter that ends it, and its length. Fiscal `year` ends in month `last_month`.

    `months` is 3, or 6 or 12 where a half or a full year is reported. Weekly calendars end on a Saturday.
    """

    quarter: int
    year: int
    last_month: int = 12
    months: int = 3
    weekly: bool = False

    @property
    def fiscal(self) -> bool:
        return self.last_month != 12

    @property
    def label(self) -> str:
        year = f"{'FY' if self.fiscal else ''}{self.year}"
        return {3: f"Q{self.quarter} {year}", 6: f"H{self.quarter // 2} {year}", 12: f"FY{self.year}"}[self.months]

    @property
    def words(self) -> str:
        year = f"{'fiscal ' if self.fiscal else ''}{self.year}"
        first = {3: f"{ORDINALS[self.quarter - 1]} quarter", 6: f"{ORDINALS[self.quarter // 2 - 1]} half"}.get(
            self.months, "full year"
        )
        return f"{first} of {year}" if self.months != 12 else f"{'fiscal' if self.fiscal else 'full'} year {self.year}"

    @property
    def words_py(self) -> str:
        return self.words.replace(str(self.year), str(self.year - 1))

    @property
    def title(self) -> str:
        return self.words.replace("quarter of", "quarter").replace("half of", "half").title()

    def day(self, back: int = 0) -> date:
        """The last day of the period that ended `back` quarters earlier."""
        index = self.year * 12 + self.last_month - 1 - 3 * (4 - self.quarter) - 3 * back
        year, month = index // 12, index % 12 + 1
        last = date(year, month, monthrange(year, month)[1])
        if not self.weekly:
            return last
        return last - timedelta(days=(last.weekday() - 5) % 7)

    def end(self, back: int = 0) -> str:
        day = self.day(back)
        return f"{_MONTHS[day.month - 1]} {day.day}, {day.year}"

    def year_of(self, back: int = 0) -> str:
        return str(self.day(back).year)

    def quarter_label(self, back: int, form: str = "Q{q} {year}") -> str:
        index = self.year * 4 + self.quarter - 1 - back
        return form.format(q=index % 4 + 1, year=index // 4, yy=f"{index // 4 % 100:02d}")

    def previous(self) -> Calendar:
        """The same company's calendar a quarter earlier."""
        index = self.year * 4 + self.quarter - 2
        return Calendar(index % 4 + 1, index // 4, self.last_month, self.months, self.weekly)
