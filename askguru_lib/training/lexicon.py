"""The words that random databases are made of."""

from __future__ import annotations

ENTITIES = """
customer order product supplier invoice payment shipment employee department project task contract client
account student teacher course exam classroom school patient doctor nurse ward treatment prescription drug
hospital visit player team match coach stadium season referee song artist album playlist label concert festival
movie actor director studio cinema ticket reviewer review article journalist newspaper editor publisher magazine
hotel room guest reservation restaurant chef menu dish recipe ingredient farm farmer crop field animal
veterinarian zoo keeper museum painting exhibition sculptor gallery visitor city country region river mountain
lake station train driver bus route stop vehicle mechanic garage repair dealer car truck ship captain port cargo
container voyage pilot crew satellite rocket mission astronaut planet telescope observation laboratory
experiment scientist sample device sensor reading meter household tariff building apartment tenant landlord
lease broker property bank branch loan card transaction customer_group policyholder broker_office adjuster judge
court lawyer hearing citizen party election candidate vote district mayor company shareholder factory machine
operator shift batch material inspection defect store cashier receipt coupon category brand warehouse shelf
pallet courier parcel address subscriber phone plan message server incident engineer release bug feature
repository developer comment forum member post photo album_page camera photographer wedding venue band
instrument orchestra conductor piece dancer theater play scene gym trainer membership workout athlete race medal
sponsor tournament chess_club opening lift resort slope skier bakery cake order_line vineyard wine grape cellar
brewery beer bar cocktail pet owner breed shelter adoption garden plant gardener tree forest ranger park trail
camper tour guide booking agency cruise island ferry
""".split()  # noqa: SIM905
"""What a table is about."""
LABELS = (
    "name",
    "title",
    "full_name",
    "label",
    "display_name",
    "designation",
    "short_name",
    "first_name",
    "last_name",
    "surname",
    "product_name",
    "item_name",
    "caption_title",
)
"""Names of the column that says what a row is called."""
CATEGORIES: dict[str, str] = {
    "city": "Oslo|Rome|Lima|Cairo|Paris|Berlin|Madrid|Tokyo|Delhi|Boston|Dublin|Geneva|Porto|Austin|Quito|Hanoi|Perth",
    "country": "Norway|Italy|Peru|Egypt|France|Germany|Spain|Japan|India|Ireland|Brazil|Canada|Kenya|Chile|Poland",
    "region": "North|South|East|West|Central|Coast|Highlands|Valley|Lakeside|Inland",
    "status": "active|inactive|pending|closed|open|approved|rejected|cancelled|completed|draft|suspended|paid|overdue",
    "type": "standard|premium|basic|special|internal|external|temporary|permanent|regular|express",
    "color": "red|blue|green|black|white|yellow|orange|purple|silver|brown",
    "gender": "male|female|M|F|other",
    "language": "English|French|Spanish|German|Hindi|Arabic|Italian|Polish|Dutch|Korean",
    "currency": "EUR|USD|GBP|JPY|CHF|INR|NOK|BRL",
    "priority": "low|medium|high|urgent|critical|normal",
    "grade": "A|B|C|D|E|F|A+|B-",
    "category": "electronics|furniture|toys|books|clothing|food|sports|garden|health|music|travel|office",
    "genre": "drama|comedy|jazz|rock|thriller|fantasy|romance|horror|documentary|pop|classical",
    "payment_method": "cash|card|transfer|voucher|check|invoice|wallet",
    "department": "sales|finance|marketing|research|support|legal|logistics|purchasing",
    "position": "manager|analyst|assistant|director|engineer|clerk|intern|consultant|specialist",
    "nationality": "Norwegian|Italian|French|German|Spanish|Japanese|Indian|Irish|Kenyan|Chilean",
    "specialty": "cardiology|surgery|pediatrics|neurology|oncology|radiology|dentistry",
    "material": "steel|wood|glass|plastic|copper|cotton|paper|leather|stone|aluminium",
    "size_class": "small|medium|large|XL|XS|tiny|huge",
    "season": "spring|summer|autumn|winter",
    "weekday": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday",
    "level": "beginner|intermediate|advanced|expert|junior|senior|master",
    "source": "web|phone|email|store|partner|agent|mobile|fax",
    "brand": "Acme|Nordix|Velora|Quanta|Brightline|Kestrel|Zenith|Altura|Fenwick|Orion",
    "fuel": "diesel|petrol|electric|hybrid|hydrogen|gas",
    "blood_group": "A|B|AB|O|A+|O-",
    "shape": "round|square|oval|flat|long",
    "state": "Texas|Ohio|Utah|Maine|Nevada|Bavaria|Kerala|Quebec|Victoria|Lombardy",
    "role": "admin|editor|viewer|owner|guest|moderator",
    "reason": "damage|delay|error|fire|theft|water|illness|holiday|upgrade",
    "code": "",
    "reference_number": "",
    "serial_number": "",
    "postal_code": "",
    "email_domain": "a.org|mail.com|web.net",
    "condition": "new|used|refurbished|broken|good|fair|poor",
    "unit": "kg|pcs|m|l|box|hour|ton",
    "origin": "local|imported|domestic|overseas|unknown",
    "diet": "vegan|vegetarian|carnivore|omnivore|herbivore",
    "format": "PDF|CSV|vinyl|digital|paperback|hardcover|DVD",
    "surface": "grass|clay|sand|asphalt|gravel|ice",
    "channel": "north|direct|retail|wholesale|online|outlet",
    "plan": "free|starter|pro|team|enterprise|family|solo",
    "marital_status": "single|married|divorced|widowed",
    "education": "primary|secondary|bachelor|master|doctorate",
}
"""Category columns with their values; an empty list of values means running codes."""
MEASURES: dict[str, tuple[int, int]] = {
    "price": (1, 900), "cost": (5, 5000), "amount": (10, 9000), "quantity": (1, 200), "salary": (20000, 120000),
    "age": (1, 95), "weight": (1, 900), "height": (40, 250), "length": (1, 3000), "width": (1, 300),
    "duration": (1, 400), "distance": (1, 9000), "capacity": (10, 90000), "population": (900, 9000000),
    "rating": (1, 10), "score": (0, 100), "points": (0, 120), "budget": (1000, 900000),
    "revenue": (1000, 5000000), "profit": (100, 900000), "discount": (0, 60), "tax": (1, 500),
    "balance": (0, 90000), "credit_limit": (500, 50000), "stock": (0, 900), "floor": (0, 40), "rooms": (1, 12),
    "seats": (2, 400), "speed": (10, 900), "temperature": (1, 90), "pressure": (1, 500), "voltage": (1, 400),
    "area": (10, 9000), "depth": (1, 4000), "volume": (1, 900), "energy": (10, 9000), "hours": (1, 60),
    "minutes": (1, 240), "days": (1, 365), "credits": (1, 30), "attendance": (10, 90000), "goals": (0, 60),
    "wins": (0, 40), "losses": (0, 40), "views": (10, 900000), "likes": (0, 9000), "downloads": (0, 90000),
    "pages": (20, 1200), "copies": (1, 50), "mileage": (10, 250000), "interest_rate": (1, 15), "fee": (1, 400),
    "fine": (1, 200), "bonus": (100, 9000), "experience": (0, 40), "dosage": (1, 800), "beds": (1, 60),
    "year": (1980, 2024), "founded_year": (1850, 2020), "release_year": (1950, 2024), "rank": (1, 100),
    "position_number": (1, 30), "commission": (1, 30), "premium": (50, 4000), "rent": (300, 4000),
    "deposit": (100, 9000), "yield": (1, 90), "efficiency": (10, 99), "output": (10, 9000),
    "consumption": (5, 900), "visitors": (10, 90000), "members": (3, 900), "employees": (1, 9000),
    "size": (1, 500), "thickness": (1, 80), "shipping_cost": (1, 200), "total_amount": (10, 9000),
    "unit_price": (1, 900), "net_worth": (10, 9000), "claim_amount": (100, 90000), "number_of_doors": (2, 6),
    "number_of_items": (1, 40), "delay_minutes": (0, 300),
}  # fmt: skip
"""Number columns with their range."""
DATES = """
date created_at birth_date start_date end_date due_date hire_date order_date delivery_date payment_date
joined_on opened_on closed_on updated_at registered_on visit_date issue_date return_date departure_date
arrival_date published_on expiry_date signed_on last_login inspection_date release_date founded_on booked_on
exam_date
""".split()  # noqa: SIM905
"""Date columns."""
SYLLABLES = """
ba ko ri ta me lu no si ver dan pol mar tin gar ost ell ira fen wick ton berg lin mor sta vik zu qua pre
""".split()  # noqa: SIM905
"""Parts of words that nobody has seen before."""
