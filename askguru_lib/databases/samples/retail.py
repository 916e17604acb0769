"""Orders of a web shop: CamelCase names, a table name with a space, a column named like an SQL keyword."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator

import sqlalchemy as sa
from faker import Faker

TITLE = "Web shop"
METADATA = sa.MetaData()

sa.Table(
    "Customers",
    METADATA,
    sa.Column("CustomerID", sa.Integer, primary_key=True),
    sa.Column("CustomerName", sa.String(60), nullable=False, comment="person or company"),
    sa.Column("Group", sa.String(2), nullable=False, comment="kind of customer"),
    sa.Column("City", sa.String(30), nullable=False),
    sa.Column("Country", sa.String(20), nullable=False, comment="delivery country"),
    sa.Column("SignupDate", sa.Date, nullable=False, comment="account opened"),
    comment="Everyone with an account, buyer or not",
)
sa.Table(
    "Categories",
    METADATA,
    sa.Column("CategoryID", sa.Integer, primary_key=True),
    sa.Column("CategoryName", sa.String(30), nullable=False, comment="shelf in the shop"),
    sa.Column("ParentID", sa.Integer, sa.ForeignKey("Categories.CategoryID"), comment="empty for a main category"),
    comment="Product categories, two levels",
)
sa.Table(
    "Products",
    METADATA,
    sa.Column("ProductID", sa.Integer, primary_key=True, comment="article number"),
    sa.Column("ProductName", sa.String(50), nullable=False, comment="brand and item"),
    sa.Column("CategoryID", sa.Integer, sa.ForeignKey("Categories.CategoryID"), nullable=False),
    sa.Column("ListPrice", sa.Numeric(8, 2, asdecimal=False), nullable=False, comment="today's price in EUR"),
    sa.Column("WeightKg", sa.Numeric(6, 2, asdecimal=False), comment="shipping weight; empty if never weighed"),
    sa.Column("Discontinued", sa.Integer, nullable=False, comment="1 = no longer sold"),
    comment="Items in the shop",
)
sa.Table(
    "Warehouses",
    METADATA,
    sa.Column("WarehouseID", sa.Integer, primary_key=True),
    sa.Column("City", sa.String(30), nullable=False, comment="location"),
    sa.Column("OpenedOn", sa.Date, nullable=False, comment="first day of operation"),
    comment="Shipping sites",
)
sa.Table(
    "Orders",
    METADATA,
    sa.Column("OrderID", sa.Integer, primary_key=True, comment="order number"),
    sa.Column("CustomerID", sa.Integer, sa.ForeignKey("Customers.CustomerID"), nullable=False, comment="buyer"),
    sa.Column("WarehouseID", sa.Integer, sa.ForeignKey("Warehouses.WarehouseID"), comment="empty until shipped"),
    sa.Column("OrderDate", sa.Date, nullable=False, comment="placed on"),
    sa.Column("ShippedDate", sa.Date, comment="handed to the carrier"),
    sa.Column("ShippingFee", sa.Numeric(6, 2, asdecimal=False), nullable=False, comment="EUR, 0 = free delivery"),
    sa.Column("Status", sa.String(1), nullable=False, comment="state of the order"),
)
sa.Table(
    "Order Details",
    METADATA,
    sa.Column("OrderID", sa.Integer, sa.ForeignKey("Orders.OrderID"), primary_key=True),
    sa.Column("ProductID", sa.Integer, sa.ForeignKey("Products.ProductID"), primary_key=True),
    sa.Column("Quantity", sa.Integer, nullable=False, comment="pieces ordered"),
    sa.Column("UnitPrice", sa.Numeric(8, 2, asdecimal=False), nullable=False, comment="price per piece that day, EUR"),
    sa.Column("Discount", sa.Numeric(4, 2, asdecimal=False), nullable=False, comment="fraction: 0.1 is 10 % off"),
    comment="Lines of the orders",
)
sa.Table(
    "Returns",
    METADATA,
    sa.Column("ReturnID", sa.Integer, primary_key=True),
    sa.Column("OrderID", sa.Integer, nullable=False),
    sa.Column("ProductID", sa.Integer, nullable=False),
    sa.Column("ReturnDate", sa.Date, nullable=False, comment="goods came back"),
    sa.Column("Quantity", sa.Integer, nullable=False, comment="pieces sent back"),
    sa.Column("Reason", sa.String(3), comment="why it came back; empty = not said"),
    sa.ForeignKeyConstraint(["OrderID", "ProductID"], ["Order Details.OrderID", "Order Details.ProductID"]),
    comment="Order lines that came back, whole or in part",
)

MEANINGS = {
    "Customers.Group": {"PR": "private", "BU": "business", "RS": "reseller"},
    "Products.Discontinued": {"0": "still sold", "1": "no longer sold"},
    "Orders.Status": {"N": "new", "S": "on its way", "D": "delivered", "X": "cancelled"},
    "Returns.Reason": {"DMG": "damaged", "WRG": "wrong item", "NOT": "not as described", "CHG": "changed their mind"},
}
_MAINS = {"Kitchen": 0.04, "Garden": 0.05, "Living": 0.09, "Bath": 0.05, "Outdoor": 0.12, "Gifts": 0.0}  # returned
_SHELVES = [  # main category, category, items with their usual price and weight
    ("Kitchen", "Cookware", "Frying Pan 45 1.6, Saucepan 39 1.4, Stockpot 62 2.7, Casserole 85 4.8, Wok 49 1.9"),
    ("Kitchen", "Knives", "Chef Knife 79 0.4, Paring Knife 19 0.2, Bread Knife 45 0.4, Knife Block 120 3.1"),
    ("Kitchen", "Coffee", "Moka Pot 29 0.8, Grinder 85 2.2, French Press 32 1.1, Espresso Machine 349 8.4"),
    ("Garden", "Garden Tools", "Spade 35 2.1, Rake 24 1.5, Pruning Shears 22 0.4, Hedge Trimmer 109 4.2"),
    ("Garden", "Planters", "Flower Pot 14 2.4, Window Box 23 1.8, Raised Bed 99 14.5, Hanging Basket 19 1.2"),
    ("Garden", "Barbecue", "Charcoal Grill 149 16.5, Gas Grill 399 38.0, Grill Tongs 15 0.3, Smoker 229 21.0"),
    ("Living", "Lighting", "Table Lamp 59 2.1, Floor Lamp 119 6.3, Reading Lamp 45 1.4, Lantern 25 0.8"),
    ("Living", "Rugs", "Wool Rug 249 9.5, Runner 89 4.1, Doormat 22 1.6, Round Rug 159 6.2"),
    ("Living", "Cushions", "Cushion 24 0.6, Floor Cushion 49 2.4, Throw 45 1.1, Bolster 32 0.9"),
    ("Bath", "Towels", "Bath Towel 25 0.7, Hand Towel 12 0.3, Bath Mat 22 0.9, Bathrobe 69 1.3"),
    ("Outdoor", "Tents", "Dome Tent 189 3.6, Tunnel Tent 399 9.8, Tarp 59 0.9, Trekking Tent 329 1.9"),
    ("Outdoor", "Backpacks", "Daypack 65 0.9, Trekking Backpack 169 2.1, Kids Backpack 39 0.5, Duffel Bag 89 1.3"),
    ("Outdoor", "Sleeping Bags", "Summer Sleeping Bag 59 1.0, Down Sleeping Bag 249 1.2, Sleeping Mat 79 0.7"),
    ("Gifts", "Gift Cards", ""),  # announced, nothing to sell yet
]
_BRANDS = ["Nordlys", "Arden", "Terra", "Basalt", "Verano", "Luma", "Kestrel"]
_CITIES = {  # share of customers
    "Netherlands": (38, ["Amsterdam", "Rotterdam", "Utrecht", "Eindhoven", "Groningen"]),
    "Germany": (30, ["Berlin", "Hamburg", "Cologne", "Munich", "Leipzig"]),
    "Belgium": (14, ["Antwerp", "Ghent", "Brussels"]),
    "France": (9, ["Lille", "Paris", "Lyon"]),
    "Austria": (5, ["Vienna", "Graz"]),
    "Denmark": (4, ["Copenhagen", "Aarhus"]),
}
_WAREHOUSES = {"Venlo": dt.date(2016, 3, 1), "Leipzig": dt.date(2021, 9, 15), "Lille": dt.date(2023, 5, 2)}
_NEW_WAREHOUSE = {"WarehouseID": 4, "City": "Odense", "OpenedOn": dt.date(2025, 6, 16)}  # no parcel yet
_GROUPS = {"PR": (82, 3), "BU": (13, 7), "RS": (5, 22)}  # share, most pieces of one product
_FIRST, _LAST = dt.date(2022, 1, 1), dt.date(2025, 6, 30)


def _customers(rng: random.Random, fake: Faker, number: int) -> list[dict]:
    customers = []
    for i in range(1, number + 1):
        group = rng.choices(list(_GROUPS), [share for share, _ in _GROUPS.values()])[0]
        country = rng.choices(list(_CITIES), [share for share, _ in _CITIES.values()])[0]
        name = f"{fake.first_name()} {fake.last_name()}"
        customers.append(
            {
                "CustomerID": i,
                "CustomerName": name if group == "PR" else fake.company(),
                "Group": group,
                "City": rng.choices(_CITIES[country][1], [5, 3, 2, 2, 1][: len(_CITIES[country][1])])[0],
                "Country": country,
                "SignupDate": dt.date(2021, 6, 1) + dt.timedelta(days=rng.randint(0, 1480)),
            }
        )
    customers.sort(key=lambda c: str(c["SignupDate"]))  # numbered as they came
    return [{**c, "CustomerID": i} for i, c in enumerate(customers, 1)]


def _products(rng: random.Random) -> list[dict]:
    products: list[dict] = []
    for shelf, (_, _, items) in enumerate(_SHELVES, 11):
        for item, price, weight in (text.rsplit(" ", 2) for text in filter(None, items.split(", "))):
            for brand in rng.sample(_BRANDS, rng.randint(1, 3)):
                products.append(
                    {
                        "ProductID": 1001 + len(products),
                        "ProductName": f"{brand} {item}",
                        "CategoryID": shelf,
                        "ListPrice": round(int(price) * (0.7 + 0.8 * rng.random())) - rng.choice([0.01, 0.05, 0.5]),
                        "WeightKg": None if rng.random() < 0.1 else round(float(weight) * (0.8 + rng.random() / 2), 2),
                        "Discontinued": int(rng.random() < 0.1),
                    }
                )
    return products


def _shipped(rng: random.Random, order: dict) -> None:
    """Fill in what happened to an order: warehouse, day and status."""
    day = order["OrderDate"] + dt.timedelta(days=1 + int(rng.random() * rng.random() * 9))
    if rng.random() < 0.04:
        order["Status"] = "X"
    elif day <= _LAST:
        open_then = [i for i, opened in enumerate(_WAREHOUSES.values(), 1) if opened <= day]
        order["WarehouseID"] = rng.choices(open_then, [6, 4, 3][: len(open_then)])[0]
        order["ShippedDate"] = day
        order["Status"] = "D" if (_LAST - day).days > rng.randint(2, 6) else "S"


def _orders(rng: random.Random, customers: list[dict], number: int) -> list[dict]:
    keen = [0 if c["CustomerID"] % 12 == 0 else rng.choice([1, 1, 2, 3, 8]) for c in customers]
    days: list[dt.date] = []
    while len(days) < number:
        day = _FIRST + dt.timedelta(days=rng.randint(0, (_LAST - _FIRST).days))
        busy = [6, 5, 6, 7, 8, 8, 6, 6, 6, 7, 11, 12][day.month - 1] * (day.year - 2019)  # busiest before Christmas
        if rng.random() * 72 < busy:
            days.append(day)
    orders = []
    for i, day in enumerate(sorted(days), 1):
        known = sum(c["SignupDate"] <= day for c in customers)
        newest = keen[known - 1] > 0 and rng.random() < 0.2  # people sign up because they want something
        customer = customers[known - 1] if newest else rng.choices(customers[:known], keen[:known])[0]
        order = {"OrderID": 50000 + i, "CustomerID": customer["CustomerID"], "WarehouseID": None, "OrderDate": day}
        order |= {"ShippedDate": None, "ShippingFee": 0.0, "Status": "N"}
        _shipped(rng, order)
        orders.append(order)
    return orders


def _lines(rng: random.Random, order: dict, customer: dict, products: list[dict], fame: list[float]) -> list[dict]:
    day, group = order["OrderDate"], customer["Group"]
    sold = [0.0 if p["Discontinued"] and day > dt.date(2024, 3, 31) else f for p, f in zip(products, fame, strict=True)]
    wanted = rng.choices(products, sold, k=rng.choices([1, 2, 3, 4, 6], [38, 28, 18, 11, 5])[0])
    dearer = {2022: 0.88, 2023: 0.94, 2024: 1.0, 2025: 1.0}[day.year]
    sale = 0.1 if day.month == 11 and day.day >= 20 else 0.0
    lines = []
    for product in {p["ProductID"]: p for p in wanted}.values():
        u = rng.random()
        lines.append(
            {
                "OrderID": order["OrderID"],
                "ProductID": product["ProductID"],
                "Quantity": 1 + int(_GROUPS[group][1] * u * u),
                "UnitPrice": round(product["ListPrice"] * dearer, 2),
                "Discount": rng.choice([0.15, 0.2, 0.25]) if group == "RS" else sale or rng.choice([0.0] * 8 + [0.05]),
            }
        )
    worth = sum(line["Quantity"] * line["UnitPrice"] for line in lines)
    near = customer["Country"] in ("Netherlands", "Belgium", "Germany")
    order["ShippingFee"] = 0.0 if worth >= 75 else 4.95 if near else 8.95
    return lines


def _returns(rng: random.Random, lines: list[dict], orders: list[dict], chances: dict[int, float]) -> list[dict]:
    shipped = {o["OrderID"]: o["ShippedDate"] for o in orders if o["Status"] == "D"}
    returns = []
    for line in lines:
        if line["OrderID"] not in shipped or rng.random() >= chances[line["ProductID"]]:
            continue
        day = shipped[line["OrderID"]] + dt.timedelta(days=4 + int(rng.random() * rng.random() * 40))
        if day <= _LAST:
            back = line["Quantity"] if rng.random() < 0.7 else rng.randint(1, line["Quantity"])
            reason = rng.choices(["DMG", "WRG", "NOT", "CHG", None], [20, 12, 24, 34, 10])[0]
            key = {"OrderID": line["OrderID"], "ProductID": line["ProductID"]}
            returns.append({**key, "ReturnDate": day, "Quantity": back, "Reason": reason})
    returns.sort(key=lambda r: (r["ReturnDate"], r["OrderID"], r["ProductID"]))
    return [{"ReturnID": i, **r} for i, r in enumerate(returns, 1)]


def populate(rng: random.Random, fake: Faker) -> Iterator[tuple[str, list[dict]]]:
    """Yield (table, rows) in insertion order."""
    customers = _customers(rng, fake, 480)
    yield "Customers", customers
    mains = [{"CategoryID": i, "CategoryName": name, "ParentID": None} for i, name in enumerate(_MAINS, 1)]
    yield "Categories", mains  # apart, because DuckDB looks up parents before it has inserted the statement's own rows
    parents = {row["CategoryName"]: row["CategoryID"] for row in mains}
    below = [(i, name, parents[main]) for i, (main, name, _) in enumerate(_SHELVES, 11)]
    yield "Categories", [{"CategoryID": i, "CategoryName": name, "ParentID": parent} for i, name, parent in below]
    products = _products(rng)
    yield "Products", products
    sites = [{"WarehouseID": i, "City": city, "OpenedOn": day} for i, (city, day) in enumerate(_WAREHOUSES.items(), 1)]
    yield "Warehouses", [*sites, _NEW_WAREHOUSE]
    orders = _orders(rng, customers, 1600)
    fame = [0.0 if p["ProductID"] % 23 == 0 else 1 / rng.randint(2, 40) for p in products]  # a few never sell
    lines = [line for o in orders for line in _lines(rng, o, customers[o["CustomerID"] - 1], products, fame)]
    yield "Orders", orders
    yield "Order Details", lines
    chances = {p["ProductID"]: _MAINS[_SHELVES[p["CategoryID"] - 11][0]] for p in products}
    yield "Returns", _returns(rng, lines, orders, chances)
