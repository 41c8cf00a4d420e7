"""Plausible people for the simulated org, the same ones for the same seed. All addresses are at example.com."""

import random
from collections.abc import Iterator
from typing import Any

_FIRST = (
    "Ada Adam Aisha Alan Alba Amara Ana Anders Anita Anton Aya Beatriz Ben Bianca Bruno Carla Carlos Chidi Clara Daniel "
    "Daria David Deepa Diego Dora Eilidh Elena Elias Emma Eric Eva Farah Felix Fiona Florian Freya Gabriel Grace Hana "
    "Hannah Hassan Helena Henrik Hugo Ida Ilya Imani Ines Ingrid Ivan Jack Jana Javier Joan Jonas Joy Julia Kai Karim "
    "Katya Kenji Kofi Lara Lars Laura Leila Leo Lena Liam Lin Lucia Lukas Maja Malik Marco Maria Marta Mateo Maya Mei "
    "Mia Milan Mina Nadia Naomi Nico Nina Noah Nora Olga Oliver Omar Oscar Paula Pedro Petra Priya Rafael Raj Rania "
    "Rosa Ruben Ruth Samir Sara Sean Selma Simon Sofia Stefan Tara Tariq Teresa Theo Tomas Uma Vera Victor Wanda Wei "
    "Yara Yusuf Zoe"
)
_LAST = (
    "Abebe Adler Ahmed Akande Almeida Andersen Arslan Bakker Banerjee Barros Bauer Becker Bello Berg Bianchi Blake "
    "Bosch Brandt Brown Bruun Campos Castro Chen Cohen Costa Cruz Dahl Das Davies Diaz Dubois Duarte Eriksen Evans "
    "Faber Farkas Fischer Flores Fontaine Fraser Garcia Gomez Gruber Haas Hansen Haddad Hoang Horvat Hughes Ibrahim "
    "Ito Ivanova Jansen Jensen Johansson Jones Kamara Kaya Keller Khan Kim Klein Kovacs Kowalski Kumar Lam Larsen "
    "Leclerc Lee Lopez Maier Marin Martin Mbeki Mehta Mendes Meyer Moreau Moretti Mori Murphy Nagy Nair Nguyen Nilsen "
    "Novak Okafor Okoye Oliveira Olsen Ortiz Osman Owen Park Patel Pereira Perez Petrov Popov Quinn Ramos Rao Reyes "
    "Ricci Rivera Romano Rossi Roy Sahin Sanchez Santos Sato Schmidt Silva Singh Smith Sousa Suzuki Takeda Tan Torres "
    "Toth Varga Vega Vidal Vogel Wagner Walker Wang Weber White Wolf Wong Wright Yamada Yilmaz Young Zhang Zimmer"
)
_DEPARTMENTS = {
    "Engineering": ("Software Engineer", "Staff Engineer", "Engineering Manager", "QA Engineer"),
    "Operations": ("Site Reliability Engineer", "Operations Lead", "Incident Manager"),
    "Security": ("Security Engineer", "Identity Administrator"),
    "Finance": ("Accountant", "Controller"),
    "Sales": ("Account Executive", "Sales Engineer"),
    "Support": ("Support Engineer", "Support Lead"),
    "People": ("Recruiter", "People Partner"),
}
#: A group whose members might own OpsHelm, and who they are.
OWNERS, OWNERS_TITLE = "OpsHelm Owners", "Identity Administrator"
_LOCALES = ("en-US", "en-GB", "de-DE", "es-ES", "fr-FR", "pt-BR")
_ZONES = ("Europe/Berlin", "Europe/London", "America/New_York", "America/Sao_Paulo", "Asia/Tokyo")
_PLACES = (("Berlin", "DE"), ("London", "GB"), ("New York", "US"), ("Madrid", "ES"), ("Lisbon", "PT"))


def people(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """``count`` Okta user profiles: unique logins, equal to the e-mail; attributes without a value are left out."""
    draw = random.Random(f"people {seed}")  # noqa: S311 - names, not secrets
    first_names, last_names = _FIRST.split(), _LAST.split()
    departments = list(_DEPARTMENTS.items())
    for number in range(1, count + 1):
        first, last = draw.choice(first_names), draw.choice(last_names)
        department, titles = draw.choice(departments)
        city, country = draw.choice(_PLACES)
        login = f"{first}.{last}{number}@example.com".lower()
        profile: dict[str, Any] = {
            "login": login,
            "email": login,
            "firstName": first,
            "lastName": last,
            "displayName": f"{first} {last}",
            "title": draw.choice(titles),
            "department": department,
            "employeeNumber": str(10_000 + number),
            "locale": draw.choice(_LOCALES),
            "timezone": draw.choice(_ZONES),
        }
        if number % 3 == 0:
            profile["costCenter"] = f"CC{draw.randrange(100, 130)}"
            profile["city"], profile["countryCode"] = city, country
        if number % 5 == 0:
            profile["primaryPhone"] = f"+1 555 {draw.randrange(100, 200):04d}"
        yield profile
