"""Sample customers for a first look: believable people, and a few whose addresses show what can go wrong."""

import os
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel import Session, select

from crm_api.auth.principal import Principal
from crm_api.changes import announce
from crm_api.customers import service
from crm_api.customers.models import Customer, CustomerEntry
from shared.clock import now

BY = "Posthaste"
_PRINCIPAL = Principal(UUID(int=0), BY, "", "admin", "command", "samples")

# first name, last name, company, email, phone, address, language, tags
_PEOPLE = """
Marta|Lindqvist|Lindqvist Trädgård|marta@lindqvist-tradgard.example|+46 31 555 01 47|Trädgårdsgatan 12, 411 08 Göteborg|Swedish|architect, sv
Jonas|Ek|Vasastadens Plantskola|jonas.ek@vasastadens.example|+46 8 555 02 19|Odengatan 44, 113 51 Stockholm|Swedish|nursery, sv
Aylin|Demir|Demir & Söhne Baumschulen|a.demir@demir-baumschulen.example|+49 30 5550 1182|Gärtnerweg 3, 14195 Berlin|German|nursery, wholesale
Kwame|Mensah|Mensah Hotels|grounds@mensah-hotels.example|+233 30 255 0144|Liberation Road 8, Accra|English|hotel
Théo|Moreau|Café Moreau|theo@cafemoreau.example|+33 1 55 50 12 90|14 rue des Lilas, 75019 Paris|French|restaurant, fr
Priya|Nair|Nair Interiors|priya@nair-interiors.example|+91 484 555 0162|MG Road 210, Kochi 682016|English|architect
|  |Granby Community Nursery|orders@granby-nursery.example|+44 151 555 0110|28 Granby Street, Liverpool L8 2US|English|nursery, charity
Sofía|Echeverría|Huerta del Norte|sofia@huertadelnorte.example|+34 943 55 01 33|Calle del Puerto 5, 20003 Donostia|Spanish|wholesale, es
Piet|van der Berg|Van der Berg Bloembollen|piet@vdberg-bollen.example|+31 252 55 01 80|Heereweg 101, 2161 BC Lisse|Dutch|wholesale
Hanna|Kowalska||hanna.kowalska@poczta.example|+48 22 555 01 09|ul. Lipowa 7/12, 00-316 Warszawa|Polish|private
Ola|Nordmann|Fjellhagen Kommune|postmottak@fjellhagen.example|+47 55 55 01 20|Rådhusplassen 1, 5012 Bergen|Norwegian|public
Grace|Okafor|Okafor Landscapes|grace@okafor-landscapes.example|+234 1 555 0171|15 Admiralty Way, Lagos|English|architect, wholesale
Ludo|Peeters|De Moestuin|ludo@demoestuin.example|+32 9 555 01 62|Vrijdagmarkt 22, 9000 Gent|Dutch|restaurant
Emi|Tanaka|Atelier Tanaka|emi@atelier-tanaka.example|+81 75 555 0123|Teramachi-dori 48, Nakagyo, Kyoto|Japanese|architect
Callum|Reid|Reid & Co. Orchards|callum@reidorchards.example|+44 1764 555 018|Mill Lane, Crieff PH7 4BP|English|wholesale
Ελένη|Παπαδοπούλου|Ελιές Κρήτης|eleni@elies-kritis.example|+30 281 055 5014|Οδός Αθηνάς 9, 712 01 Ηράκλειο|Greek|wholesale
Дмитро|Шевченко|Сад і Город|dmytro@sad-i-horod.example|+380 32 555 0188|вул. Садова 21, 79013 Львів|Ukrainian|nursery
ليلى|حداد|مشاتل حداد|layla@haddad-nurseries.example|+962 6 555 0134|شارع الرينبو 17، عمّان|Arabic|nursery
Věra|Nováková|Zahradnictví Nováková|vera@zahradnictvi-novakova.example|+420 541 555 012|Zahradní 6, 602 00 Brno|Czech|nursery
Nguyễn|Minh Anh|Vườn Xanh|minhanh@vuonxanh.example|+84 24 5550 0199|18 Hàng Bông, Hà Nội|Vietnamese|restaurant
Robin|Refused|Try it: refused for good|smtp-550@example.com|||English|try it
Wanda|Waits|Try it: always asked to wait|smtp-450@example.com|||English|try it
Felix|Flaky|Try it: asked to wait twice, then taken|flaky-2@example.com|||English|try it
Dora|Dropped|Try it: the line dies after the letter|drop@example.com|||English|try it
"""  # noqa: E501

# email → contacts: first name, last name, role, email, phone
_CONTACTS = {
    "marta@lindqvist-tradgard.example": [
        ("Nils", "Lindqvist", "Planting", "nils@lindqvist-tradgard.example", "+46 31 555 01 48"),
        ("Karin", "Åberg", "Invoices", "faktura@lindqvist-tradgard.example", ""),
    ],
    "grounds@mensah-hotels.example": [
        ("Efua", "Boateng", "Purchasing", "efua@mensah-hotels.example", "+233 30 255 0145"),
    ],
    "postmottak@fjellhagen.example": [("Ingrid", "Solberg", "Parks", "ingrid.solberg@fjellhagen.example", "")],
    "a.demir@demir-baumschulen.example": [("Jürgen", "Groß", "Loading dock", "lager@demir-baumschulen.example", "")],
    "emi@atelier-tanaka.example": [("Ken", "Satō", "Site manager", "ken@atelier-tanaka.example", "")],
}  # fmt: skip

# email → notes: days ago, text
_NOTES = {
    "marta@lindqvist-tradgard.example": [
        (2, "Calls are best after 15:00. Wants M26, not M9: the field is exposed."),
        (19, "Met at the autumn fair. Plans an orchard of 400 trees, planting in November."),
    ],
    "theo@cafemoreau.example": [(5, "Deliveries between 7 and 9 only; the street is closed to vans after that.")],
    "grounds@mensah-hotels.example": [(11, "Kitchen garden for the new house in Takoradi. Decides before Christmas.")],
    "piet@vdberg-bollen.example": [(30, "Takes whole pallets. Asks for the price list in March.")],
    "hanna.kowalska@poczta.example": [(8, "Two old pear trees to be identified. Sent photographs.")],
    "smtp-550@example.com": [
        (1, "Write to this address to see a letter fail: the sandbox refuses it, and it needs a person.")
    ],
    "smtp-450@example.com": [
        (1, "Write to this address to see a letter wait: it is tried again and again, by itself.")
    ],
    "flaky-2@example.com": [(1, "Write to this address to see a letter arrive at the third try.")],
    "drop@example.com": [
        (1, "Write to this address to see an outcome that nobody knows: the sandbox hangs up before it has answered.")
    ],
}  # fmt: skip


def add_samples(session: Session) -> int:
    """Puts them in if there is no customer at all; how many."""
    if session.exec(select(Customer.id).limit(1)).first():
        return 0
    # the newest stands first in the list, where nobody was written to yet
    lines = [line.split("|") for line in reversed(_PEOPLE.strip().splitlines())]
    at = now()
    for number, (*values, tags) in enumerate(lines):
        fields = dict(zip(service.CUSTOMER_FIELDS, (value.strip() for value in values), strict=True))
        customer = service.create(session, _PRINCIPAL, fields, tags.split(","))
        for first, last, role, email, phone in _CONTACTS.get(customer.email, ()):
            person = {"first_name": first, "last_name": last, "role": role, "email": email, "phone": phone}
            service.add_contact(session, _PRINCIPAL, customer.id, person)
        session.flush()
        _age(session, customer, at - timedelta(days=40, minutes=37 * (len(lines) - number)))
        for days, text in _NOTES.get(customer.email, ()):
            wrote = at - timedelta(days=days, minutes=11 * number)
            session.add(
                CustomerEntry(id=_id_at(wrote), customer_id=customer.id, at=wrote, kind="note", by=BY, text=text)
            )
    announce(session, "customers")
    return len(lines)


def _age(session: Session, customer: Customer, at: datetime) -> None:
    """Makes the customer older than its notes; of its making, one line remains."""
    for entry in session.exec(select(CustomerEntry).where(CustomerEntry.customer_id == customer.id)).all():
        session.delete(entry)
    session.add(CustomerEntry(id=_id_at(at), customer_id=customer.id, at=at, kind="created", by=BY))
    customer.created_at = customer.changed_at = at


def _id_at(at: datetime) -> UUID:
    """A UUID version 7 as it would have been made then: time lines are in the order of their ids."""
    value = int(at.timestamp() * 1000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return UUID(int=value)
