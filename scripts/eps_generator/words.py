# ruff: noqa: E501  (a sentence with its figures is easier to read in one piece)
"""The sentences of the documents, written for this project. Names in braces are looked up when a sentence is used.

Figures: B, D, A are the basic, diluted and adjusted figure of the period as signed figures, b, d, a without their sign;
a "p" behind them is the year before, an "l" the longer period, "lp" that of the year before. `got` is "net income of ..."
or "a net loss of ...". What a document prints is noted as its sentences are filled in.
"""

from __future__ import annotations

HEADLINES = (
    "{name} Reports {title} Results",
    "{name} Announces {title} Financial Results",
    "{co} Reports Results for the {title}",
    "{name} Releases {title} Earnings",
    "{name}: {title} Results",
    "{co} Announces Results for {Label}",
    "{name} reports {when} results",
    "{co} Posts {title} Results; {Sales} {moved} {pct}%",
    "{name} Delivers {title} {Sales} of {sales}",
    "{title} Report of {name}",
)
OPENINGS = (
    "{city} - {name} ({ticker}), a supplier of {line1}, {line2} and {line3}, today announced results for the {when}, which ended {end}.",
    "{city}, {later} - {name} today reported financial results for the {when} ended {end}.",
    '{city} ({later}) - {name} ({ticker}) (the "Company") today released its results for the period ended {end}.',
    "{city} -- {name}, known for its {line1} and {line2}, today published unaudited figures for the {when} (period ended {end}).",
    "{name} ({ticker}), which earns most of its sales with {line1}, today reported sales of {sales} for the {when}, {moved} {pct}% from a year earlier.",
    "{later} - {name} today announced its operating and financial results for the {when}.",
)
PLAIN_TAILS = (
    "Sales of {line1} made up {n3}% of the total.",
    "The company makes most of its sales with {line1}.",
    "Orders for {line1} were up {n1}% at the end of the period.",
    "Capital spending was {capital}.",
    "Sales came to {sales}, {moved} {pct}%.",
    "{line1c} and {line2} both did better than planned.",
    "The company had {n4} employees at the end of the period.",
    "A call for investors takes place tomorrow at 9:00 a.m.",
    "Full statements will be filed within {n2} weeks.",
    "Sales were {sales} ({salesp} a year ago).",
)

# ------------------------------------------------------------------------------------------------- the figures in words

BOTH_PROFIT = (
    "{co} earned {NI} in the {when}, or {D} per diluted {share} ({B} per basic {share}), compared with {Dp} per diluted {share} ({Bp} basic) a year earlier.",
    "Basic earnings per {share} for the {when} were {B} and diluted earnings per {share} were {D}, against {Bp} and {Dp} in the same period of the previous year.",
    "Compared with a year ago, basic earnings per {share} moved from {Bp} to {B} and diluted earnings per {share} from {Dp} to {D} in the {when}.",
    "Net income for the {when} was {NI}, which is {B} per basic and {D} per diluted {share}. In the same period a year ago the figures were {Bp} and {Dp}.",
    "For the {when}, {co} reported basic EPS of {B} and diluted EPS of {D} (prior year: {Bp} and {Dp}).",
    "Earnings were {NI}, or {B} per {share} basic and {D} per {share} diluted; a year ago {co} reported {gotp}, or {Bp} and {Dp}.",
    "Diluted EPS came in at {D} (last year {Dp}) and basic EPS at {B} (last year {Bp}).",
    "Earnings per {share}, basic and diluted, were {B} and {D} respectively, after {Bp} and {Dp} in the {when_p}.",
    "The {when} closed with net income of {NI}, equal to {D} per diluted {share} and {B} per basic {share}; the comparable figures of the year before are {Dp} and {Bp}.",
)
PLAIN_TAILS_OTHER = (
    "The company had {n4} employees at the end of the period.",
    "A call for investors takes place tomorrow at 9:00 a.m.",
    "Full statements will be filed within {n2} weeks.",
    "{line1c} did better than planned, {line2} as expected.",
    "Total revenues were {sales} ({salesp} a year ago).",
    "The company is active in {line1}, {line2} and {line3}.",
)
BOTH_LOSS = (
    "{co} had a net loss of {NI} in the {when}, or {b} per {share}, basic and diluted. A year earlier basic and diluted results per {share} were {Bp} and {Dp}.",
    "Basic and diluted loss per {share} for the {when} was {b}; in the same period of the previous year, the basic result per {share} was {Bp} and the diluted one {Dp}.",
    "In the {when} the company lost {b} per {share}, basic as well as diluted, after results of {Bp} basic and {Dp} diluted in the year before.",
    "Net loss for the {when} was {NI}, or {B} per basic and diluted {share}, compared with {gotp}, or {Dp} per diluted {share}, in the {when_p}.",
    "Net loss per {share}, basic and diluted, was {b}. For the {when_p}, {co} reported {gotp}, or {Dp} per diluted {share}.",
    "{co} closed the {when} with a loss of {b} per basic and diluted {share}, compared to {gotp} a year ago, or {Dp} per diluted {share}.",
    "The net loss attributable to common shareholders amounted to {NI}, or {B} per {share}, basic and diluted, against {gotp}, or {Dp} per diluted {share}.",
)
DILUTED_ONLY = (
    "{co} reported {got} for the {when}, or {D} per diluted {share}, compared with {gotp}, or {Dp} per diluted {share}, a year earlier.",
    "Diluted earnings (loss) per {share} went from {Dp} a year ago to {D} in the {when}.",
    "On a diluted basis, the {when} brought {D} per {share} (previous year: {Dp}).",
    "{got_c} for the {when} equals {D} per diluted {share}; in the {when_p} it was {Dp}.",
    "GAAP diluted EPS was {D}, versus {Dp} in the same period last year.",
    "Reported diluted EPS: {D} (year ago: {Dp}).",
)
SHORT_GAAP = (
    "GAAP {got}, or {D} per diluted {share}",
    "Diluted EPS of {D}, compared with {Dp}",
    "{got_c}, or {D} per diluted {share}, versus {gotp}, or {Dp}",
    "Earnings per diluted {share} of {D}; prior year {Dp}",
    "{got_c}; per diluted {share} {D}",
)
ADJUSTED = (
    "{Adj}, without {item} and other items, was {A}, against {Ap}.",
    "Leaving out {item} and other items, {adj} was {A}; in the prior year it was {Ap}.",
    "{Adj} was {A} for the {when}, compared with {Ap} in the {when_p}.",
    "Excluding {item} and the other items listed below, {co} had {adj} of {A}, after {Ap} a year ago.",
    "{Adj}, which is not a {gaap} measure, went from {Ap} to {A}.",
    "On that basis, {adj} came to {A}; a year earlier it was {Ap}.",
    "{Adj} of {A} compares with {Ap} last year.",
)
LONGER = (
    "For the {long}, diluted earnings (loss) per {share} were {Dl}, compared with {Dlp} in the same period of the previous year.",
    "{long_c}: {gotl}, or {Dl} per diluted {share} (previous year: {Dlp}).",
    "In the {long}, {co} reported {gotl}, equal to {Dl} per diluted {share}, after {Dlp} in the year before.",
    "The result of the {long} was {Dl} per diluted {share}, against {Dlp}.",
)
DIVIDENDS = (
    "The board of directors declared {a_dividend} of {dividend} per {paid}, payable in the middle of the following quarter to holders of record two weeks earlier.",
    "A cash dividend of {dividend} per {paid} was declared, which leaves the rate unchanged.",
    "On {later} the board approved a dividend of {dividend} per {paid}. It will be paid in about five weeks.",
    "{co} paid dividends of {dividend} per {paid} during the period and bought back {n4} shares.",
    "Shareholders of record at the end of next month will receive {dividend} per {paid}.",
)
GUIDANCE = (
    "For {year} the company expects diluted earnings per {share} between {low} and {high}, and capital spending of {capital}.",
    "{co} sees {adj} for {year} in a range of {low} to {high}, on sales that should grow by {n1}%.",
    "Guidance for {year}: earnings per {share} of {low} to {high}; capital spending of {capital}.",
    "The forecast for {year} stands at {low} to {high} per diluted {share}, assuming stable exchange rates.",
    "Management now expects {low} to {high} per {share} for {year}, before any further purchases of companies.",
)
LOSS_GUIDANCE = (
    "For {year} the company expects a loss per {share} between {low} and {high}, and capital spending of {capital}.",
    "Guidance for {year}: a loss of {low} to {high} per {share}.",
    "{co} plans for a loss per diluted {share} of {low} to {high} in {year}, as spending on {line1} goes on.",
)
NEXT_GUIDANCE = (
    "For the coming quarter, {co} expects {adj} of {low} to {high}.",
    "Next quarter's earnings per diluted {share} are forecast at {low} to {high}, with sales {n1}% above the year before.",
)
SPLIT = (
    "On {split_day}, {co} carried out a {ratio} {split_kind} of its common stock. All share and per-share figures in this release, including those of prior periods, are shown after it.",
    "All per-share data have been restated for the {ratio} {split_kind} that took effect on {split_day}.",
    "Share counts and earnings per share of all periods reflect the {ratio} {split_kind} completed on {split_day}.",
)
SPLIT_TRAPS = (
    "Before the {split_kind} was taken into account, diluted earnings (loss) per {share} for the {when_p} had been reported as {Dp_presplit}.",
    "As published a year ago, that is before the {split_kind}, the diluted figure for the {when_p} was {Dp_presplit}.",
    "Without the {split_kind} diluted earnings (loss) per {share} for the {when} would have been {D_presplit}, and {Dp_presplit} a year earlier.",
)
RESTATED = (
    "The figures of the {when_p} were restated to correct the timing of sales under long contracts: diluted earnings (loss) per {share} changed from {Dp_reported}, as first reported, to {Dp}.",
    "As described in the amended annual report, last year's figures are restated. Diluted earnings (loss) per {share} for the {when_p}, published as {Dp_reported}, is now {Dp}.",
    "Prior-year amounts are restated for an error in the valuation of stock. This changed the diluted result per {share} of the {when_p} from {Dp_reported} to {Dp}.",
)
CONTINUING = (
    "Continuing operations brought {D_continuing} per diluted {share} (last year {Dp_continuing}), and the business that was sold {D_discontinued}.",
    "From continuing operations alone, diluted earnings (loss) per {share} were {D_continuing}, compared with {Dp_continuing}.",
    "Of the total, {D_continuing} per diluted {share} came from continuing and {D_discontinued} from discontinued operations.",
)
EXTRAORDINARY = (
    "The result includes an extraordinary {gain_or_loss} from {disaster}, net of tax, which is {D_extraordinary} per diluted {share}. Before it, diluted earnings (loss) per {share} were {D_continuing}.",
    "Before the extraordinary item, a {gain_or_loss} from {disaster}, the result was {D_continuing} per diluted {share}; the item itself came to {D_extraordinary}.",
)
LOSSES = (
    "the flood at its main plant",
    "the expropriation of a foreign branch",
    "the earthquake of the spring",
    "the hurricane that destroyed a depot",
)
GAINS = (
    "the early extinguishment of bonds below par",
    "the purchase of a business below its fair value",
    "the payment for expropriated land",
)
ADS = (
    "Diluted earnings (loss) were {D_ordinary} per ordinary share and {D_ads} per ADS. {ads_rule}",
    "The diluted result equals {D_ads} per ADS, or {D_ordinary} per ordinary share. {ads_rule}",
    "Diluted result per ADS: {D_ads}; per ordinary share: {D_ordinary}. {ads_rule}",
)
ADS_RULES = (
    "Each ADS represents {ratio} ordinary shares.",
    'One American depositary share ("ADS") stands for {ratio} ordinary shares.',
    "{ratio_c} ordinary shares make one ADS.",
)
CLASSES = (
    "Diluted earnings (loss) per share were {D_class_a} for Class A and {D_class_b} for Class B common stock.",
    "Holders of Class A stock earned {D_class_a} per diluted share and holders of Class B stock {D_class_b}.",
    "By class, the diluted result was {D_class_a} per Class A share and {D_class_b} per Class B share; Class A receives eleven tenths of what Class B receives.",
)
FFO = (
    "Funds from operations (FFO) were {FFO} per diluted {share}, and Core FFO {CORE}, compared with {COREp} a year ago.",
    "FFO per diluted {share} was {FFO} (prior year {FFOp}); Core FFO, which leaves out certain items, was {CORE}.",
    "Core FFO per diluted {share} of {CORE} compares with {COREp} in the {when_p}. FFO as defined by the industry was {FFO}.",
)

# ------------------------------------------------------------------------------------------------ what stands in between

PROSE = (
    "Demand for {line1} held up through the period, while {line2} saw slower orders after an early start.",
    "Management said that {line1} gained from new contracts and that {line2} worked through older stock.",
    "The company moved part of its {line1} business to a single site and began to renew its {line2} equipment.",
    "Prices in {line1} rose in step with costs; in {line2}, longer terms delayed part of the effect.",
    "Two large customers of {line1} renewed for {n2} years.",
    "{line1c} opened {n2} locations and closed one.",
    "Weather closed several {line1} sites for {n2} days, which was largely made up later in the period.",
    "Freight and labor costs eased from the levels of a year before, and overtime fell.",
    "Headcount at the end of the period was {n4}, little changed from the previous year.",
    "Backlog stood at {n5} orders, of which about {n3}% should ship within a year.",
    "The order book covers roughly {n2} months of capacity at the present pace.",
    "Working capital rose because receivables were collected later than planned.",
    '"We did what we had set out to do, and we did it with fewer people on overtime," the chief executive officer said.',
    '"Customers of {line1} are ordering later and smaller, but they are ordering," said the head of the division.',
    '"The second half will show whether {line2} has turned," the chief executive officer said. "We plan as if it has not."',
    "The chief financial officer said that capital spending would stay close to depreciation.",
    "The board reviewed the plan in its latest meeting and left it as it was.",
    "No single customer accounted for more than a tenth of sales.",
    "Gross margin was helped by a better mix of {line1} and hurt by start-up costs in {line2}.",
    "Currency translation took {rate} percentage points from growth.",
    "At constant exchange rates, sales of {line2} would have risen by {rate}%.",
    "A new plant for {line1} is on schedule and should start in about {n2} months.",
    "The purchase of a small maker of {line2} closed near the end of the period and added {n1}% to its sales.",
    "Sales in the southern region fell by {rate}%, mainly because a distributor reduced stocks.",
    "Online orders were {n3}% of the total, against {n1}% two years ago.",
    "The company hired {n5} people for {line1}, most of them in the field.",
    "Price increases announced in the spring were accepted by most customers of {line2}.",
    "Inventories of {line1} ended the period {rate}% below the level of a year ago.",
    "The tax rate was lower than usual because an audit of earlier years was closed.",
    "Interest expense followed the higher average rate on the credit line.",
    "The share of recurring revenue in {line2} reached {n3}%.",
    "Energy costs were {rate}% higher, and about half of this was passed on.",
    "{line2c} won its largest contract so far, which runs for {n2} years and will be recognized evenly.",
    "Management described the market for {line3} as flat and the company's share in it as slightly higher.",
    "Delivery times in {line3} came down from {n2} weeks to one.",
    "An insurance payment for last year's storm was received after the end of the period and is not included.",
    "Selling, general and administrative expense grew more slowly than sales.",
    "{line3c} had its best month on record in the last month of the period.",
    "The company extended its credit line of {capital} by two years on slightly better terms.",
    "Capital expenditure in the period was {capital}, most of it for {line1}.",
    "Two of {n6} regional warehouses were merged without loss of service.",
    "Return rates in {line1} fell for the third period in a row.",
    "Competitors lowered prices in {line3}; the company followed only where contracts required it.",
    "About {n3}% of the workforce took part in the employee share plan.",
    "Research spending rose by {rate}% as trials of the next generation of {line2} began.",
    "The union agreement at the largest site was renewed for {n2} years.",
    "Quality claims in {line2} were at their lowest since records began.",
    "On-time delivery reached {n3}%, which is still short of the target.",
)
BANK_PROSE = (
    "Net interest margin was {rate}%, a few basis points below the previous quarter.",
    "Total deposits grew by {rate}% since the end of last year; deposits without interest were {n3}% of the total.",
    "Nonperforming assets were 0.{n3}% of total assets.",
    "The provision for credit losses reflects growth in {line1} and a stable outlook.",
    "The efficiency ratio stood at {n3}.{n2}%.",
    "New {line2} of {capital} were made in the period, and about {n1}% were sold.",
    "Net charge-offs came to 0.0{n2}% of average loans.",
    "The bank remains well capitalized, with a total capital ratio of 1{n2}.4%.",
    "Fees from {line3} rose with volumes.",
    '"Our borrowers are careful and so are we," the chief executive officer said.',
    "The branch network was reduced by {n2} offices.",
    "Funding costs rose by {n1} basis points as time deposits were renewed.",
)
REALTY_PROSE = (
    "Occupancy at the end of the period was 9{n2}.4%, little changed.",
    "Rents on renewed leases rose by {rate}% on average.",
    "The trust bought two {line1} for {capital} and sold one of its {line2}.",
    "Same-property income grew by {rate}%.",
    "About {n1}% of leases expire within a year.",
    "The weighted average lease term is {n2} years.",
    "Leases for {n5},000 square feet were signed, of which half were renewals.",
    "Net debt was {n2}.1 times annual earnings before interest, tax and depreciation.",
    "Construction of {line3} continues on two sites.",
    '"Tenants stay when roofs do not leak," the chief executive officer said.',
)
ANY_PROSE = (
    "Headcount at the end of the period was {n4}, little changed from the previous year.",
    "The board reviewed the plan in its latest meeting and left it as it was.",
    "The tax rate was lower than usual because an audit of earlier years was closed.",
    "An insurance payment for last year's storm was received after the end of the period and is not included.",
    "About {n3}% of the workforce took part in the employee share plan.",
    "The company extended its credit line of {capital} by two years on slightly better terms.",
    '"We did what we had set out to do, and we did it with fewer people on overtime," the chief executive officer said.',
    "Management described the market for {line3} as flat and the company's share in it as slightly higher.",
    "The chief financial officer said that costs would grow more slowly than revenue.",
    "Demand for {line1} held up through the period, while {line2} had a slower start.",
    "The new computer system went into use in {n2} offices.",
    "Advisers' fees were {rate}% lower than a year ago.",
)
SECTIONS = (
    "Operations",
    "Business Review",
    "Markets",
    "Commentary",
    "Segment Discussion",
    "Costs and Margins",
    "Operating Highlights",
    "Review of the Period",
    "Management Comments",
)

BOILERPLATE = (
    (
        "Forward-Looking Statements",
        "Safe Harbor",
        "Cautionary Note",
        "Safe Harbor Statement",
    ),
    (
        "Use of Non-GAAP Measures",
        "Non-GAAP Financial Information",
        "About Our Adjusted Figures",
        "Alternative Measures",
    ),
    ("Conference Call", "Webcast", "Investor Call", "Call Details"),
    ("Basis of Presentation", "About the Statements", "Accounting Notes", "Preparation"),
    ("Seasonality", "Seasonal Effects"),
    ("Liquidity", "Financing", "Cash and Credit"),
    ("Share Repurchases", "Buyback"),
    ("Tax", "Income Taxes"),
)
BOILERPLATE_TEXTS: tuple[tuple[str, ...], ...] = (
    (
        "Parts of this release speak of the future: of orders, costs, markets and plans. They rest on what the company knows today and can turn out otherwise, because of demand, prices, weather, suppliers, courts, interest rates or currencies. The company does not promise to correct them later. Its annual report describes the risks at length.",
        'Statements here that are not about the past are forward-looking. Words such as "expects", "plans", "should" and "sees" mark them. What happens may differ, for reasons that include competition in {line1}, the supply of parts for {line2}, the outcome of lawsuits, the loss of important people, and changes of law. Readers should not lean on such statements too much, and the company takes on no duty to bring them up to date.',
        "This text contains estimates and intentions. They were made with care, yet none of them is a promise. Among the things that could change them are the economy, customers' budgets, the cost of energy and labor, cyber attacks, acquisitions that work less well than hoped, and new rules on trade and taxes. A fuller list stands in the company's filings.",
    ),
    (
        "Alongside the figures required by accounting rules the company shows adjusted ones, which leave out items that management does not regard as part of ordinary business. Other companies may reckon them differently. They add to, and do not replace, the statements.",
        "Some measures in this release are not defined by accounting rules. Management uses them to plan, to compare periods and to set part of its pay. They have limits: they leave out real costs, and no two companies compute them alike. They should be read beside the statements and not in their place.",
    ),
    (
        "A call for investors takes place on the morning after this release. It can be followed live and later on the company's website, where the slides are available as well. Questions are taken from analysts first.",
        "Management will discuss these results by telephone at 8:30 a.m. on the next business day. A recording will be kept for {n2} weeks. The access code is {n4}.",
    ),
    (
        "The statements are condensed and unaudited. Certain amounts of earlier periods were regrouped to match the present layout, without effect on net income.",
        "These figures are preliminary until the report for the period is filed. Reviews by the auditor are not complete. Amounts may not add because of rounding.",
    ),
    (
        "Sales of the company follow the calendar of its customers, so that one quarter says little about the next, and a comparison with the same period of the year before is usually the better guide.",
        "Demand for {line1} is strongest in the warm months, and for {line3} at the end of the year.",
    ),
    (
        "The company finances itself from operations and a committed credit line, of which a small part was drawn at the end of the period. It was in compliance with the terms of all its borrowings.",
        "Cash flow from operations covered capital spending and dividends. Notes of {capital} fall due in {n2} years; no other large repayment is near.",
    ),
    (
        "Under its program the company bought {n4} of its shares in the period, and has authority for {n4} more.",
        "No shares were bought back in the period. The authorization, which has no end date, stays in force.",
    ),
    (
        "The effective tax rate differs from the statutory one mainly through foreign income, credits for research and the vesting of awards.",
        "Income tax includes a small benefit from the settlement of earlier years. The company expects a rate of {n3}% to hold for the year before such items.",
    ),
)
ABOUT = (
    "About {co}\n{name} of {town} offers {line1}, {line2} and {line3}. Its shares are listed on the regional exchange ({ticker}).",
    "About {name}\nFounded as a workshop and still run from {town}, {co} sells {line1} and {line2} in {n2} countries and has {n4} employees.",
    "{co} in brief\nThe company is active in {line1}, {line2} and {line3}. More can be read on its website.",
)
CONTACTS = (
    "Investor relations: ir@{slug}.example, telephone 555-01{n2}{n2}",
    "Contact: {name}, Investor Relations, {town}",
    "Media and investors: press@{slug}.example",
)
FOOTNOTES = (
    "(1) Includes costs of {n2} months only, since the acquisition closed during the period.",
    "(1) See the notes to the annual report for the definition.",
    "(1) Amounts per share are rounded one by one.",
    "(1) Shares that would reduce a loss per share are not counted.",
    "(1) Certain items are shown net of the tax that belongs to them.",
)

# -------------------------------------------------------------------------------------------------------- row labels

# Nouns for the rows of a statement: where all columns are profits, all are losses, or both.
NOUNS = (
    ("Earnings per {share}", "Loss per {share}", "Earnings (loss) per {share}"),
    ("Net income per {share}", "Net loss per {share}", "Net income (loss) per {share}"),
    ("Earnings per common {share}", "Loss per common {share}", "Earnings (loss) per common {share}"),
    ("Net earnings per {share}", "Net loss per {share}", "Net earnings (loss) per {share}"),
    ("Income per {share}", "Loss per {share}", "Income (loss) per {share}"),
    ("Net income per common {share}", "Net loss per common {share}", "Net (loss) income per common {share}"),
    (
        "Earnings per {share} attributable to common shareholders",
        "Loss per {share} attributable to common shareholders",
        "(Loss) earnings per {share} attributable to common shareholders",
    ),
    ("EPS", "EPS", "EPS"),
)
NOUNS_IFRS = (
    ("Earnings per {share}", "Loss per {share}", "Earnings/(loss) per {share}"),
    (
        "Earnings per {share} attributable to owners of the parent",
        "Loss per {share} attributable to owners of the parent",
        "Earnings/(loss) per {share} attributable to owners of the parent",
    ),
    (
        "Earnings per {share} for profit attributable to equity holders",
        "Loss per {share} for loss attributable to equity holders",
        "Result per {share} attributable to equity holders",
    ),
)
# Adjusted earnings per share, in sentences and in tables.
ADJUSTED_NAMES = (
    ("adjusted diluted earnings per {share}", "Adjusted diluted earnings per {share}"),
    ("non-GAAP diluted earnings per {share}", "Non-GAAP diluted earnings per {share}"),
    ("adjusted net income per diluted {share}", "Adjusted net income per diluted {share}"),
    ("non-GAAP net income per diluted {share}", "Non-GAAP net income per diluted {share}"),
    ("adjusted diluted EPS", "Adjusted diluted EPS"),
    ("adjusted earnings per diluted {share}", "Diluted EPS, as adjusted"),
    ("diluted EPS excluding special items", "Diluted EPS excluding special items"),
    ("normalized diluted earnings per {share}", "Normalized diluted earnings per {share}"),
    ("non-GAAP diluted EPS", "Non-GAAP EPS, diluted"),
    ("adjusted diluted earnings per {share}", "Diluted earnings per {share} (non-GAAP)"),
)
CORE_NAMES = (
    ("core earnings per diluted {share}", "Core earnings per diluted {share}"),
    ("operating earnings per diluted {share}", "Operating earnings per diluted {share} (non-GAAP)"),
    ("core diluted EPS", "Core diluted EPS"),
    ("core net income per diluted {share}", "Core net income per diluted {share}"),
)
ADJUSTED_NAMES_IFRS = (
    ("underlying diluted earnings per {share}", "Underlying diluted earnings per {share}"),
    ("adjusted diluted earnings per {share}", "Adjusted diluted earnings per {share}"),
    ("comparable diluted earnings per {share}", "Comparable diluted earnings per {share}"),
    ("diluted earnings per {share} before exceptional items", "Diluted earnings per {share} before exceptional items"),
    ("adjusted diluted EPS", "Adjusted EPS, diluted"),
)
