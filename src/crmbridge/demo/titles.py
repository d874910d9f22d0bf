"""Job titles in four languages, and what people in a hurry make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crmbridge.demo.dice import Dice

FUNCTIONS = (
    "executive",
    "finance",
    "it",
    "operations",
    "procurement",
    "hr",
    "marketing",
    "sales",
    "legal",
    "engineering",
    "data",
)
BLANK_SHARE = 0.17

_FIELD = {
    "en": {
        "executive": "Strategy", "finance": "Finance", "it": "IT", "operations": "Operations",
        "procurement": "Procurement",
        "hr": "Human Resources", "marketing": "Marketing", "sales": "Sales", "legal": "Legal",
        "engineering": "Engineering",
        "data": "Data & Analytics",
    },
    "de": {
        "executive": "Unternehmensentwicklung", "finance": "Finanzen", "it": "IT", "operations": "Produktion",
        "procurement": "Einkauf", "hr": "Personal", "marketing": "Marketing", "sales": "Vertrieb", "legal": "Recht",
        "engineering": "Entwicklung", "data": "Controlling",
    },
    "fr": {
        "executive": "stratégie", "finance": "financier", "it": "informatique", "operations": "exploitation",
        "procurement": "achats", "hr": "ressources humaines", "marketing": "marketing", "sales": "commercial",
        "legal": "juridique", "engineering": "technique", "data": "données",
    },
    "es": {
        "executive": "Estrategia", "finance": "Finanzas", "it": "Sistemas",
        "operations": "Operaciones", "procurement": "Compras",
        "hr": "Recursos Humanos", "marketing": "Marketing", "sales": "Ventas", "legal": "Asesoría Jurídica",
        "engineering": "Ingeniería", "data": "Datos",
    },
}  # fmt: skip

_TOP = {
    "en": {
        "executive": ("CEO", "Managing Director", "President", "Chief Executive Officer", "Owner"),
        "finance": ("CFO", "Chief Financial Officer", "VP Finance"),
        "it": ("CIO", "CTO", "Chief Information Officer", "CISO"),
        "operations": ("COO", "Chief Operating Officer"),
        "procurement": ("Chief Procurement Officer", "VP Procurement"),
        "hr": ("CHRO", "VP People"), "marketing": ("CMO", "VP Marketing"), "sales": ("CRO", "SVP Sales"),
        "legal": ("General Counsel",), "engineering": ("VP Engineering", "CTO"), "data": ("Chief Data Officer",),
    },
    "de": {
        "executive": ("Geschäftsführer", "Geschäftsführerin", "Vorstand", "Inhaber", "GF"),
        "finance": ("CFO", "Kaufmännischer Leiter", "Vorstand Finanzen"), "it": ("CIO", "IT-Vorstand"),
        "operations": ("COO", "Werkleiter"), "procurement": ("CPO", "Einkaufsdirektor"), "hr": ("Personalvorstand",),
        "marketing": ("CMO",), "sales": ("Vertriebsvorstand",), "legal": ("Justiziar", "Syndikus"),
        "engineering": ("Technischer Leiter", "CTO"), "data": ("CDO",),
    },
    "fr": {
        "executive": ("PDG", "Directeur Général", "Directrice Générale", "Gérant"),
        "finance": ("DAF", "Directeur Administratif et Financier"),
        "it": ("DSI", "Directeur des Systèmes d'Information"),
        "operations": ("Directeur des Opérations", "COO"), "procurement": ("Directeur des Achats",), "hr": ("DRH",),
        "marketing": ("Directrice Marketing", "CMO"), "sales": ("Directeur Commercial",),
        "legal": ("Directeur Juridique",),
        "engineering": ("Directeur Technique", "CTO"), "data": ("Chief Data Officer",),
    },
    "es": {
        "executive": ("Director General", "Consejero Delegado", "Gerente General", "CEO"),
        "finance": ("Director Financiero", "CFO"), "it": ("Director de Sistemas", "CIO"),
        "operations": ("Director de Operaciones",),
        "procurement": ("Directora de Compras",), "hr": ("Director de RRHH",),
        "marketing": ("Directora de Marketing",),
        "sales": ("Director Comercial",), "legal": ("Secretario General",),
        "engineering": ("Director Técnico",), "data": ("CDO",),
    },
}  # fmt: skip

_LEVELS = {
    "en": (
        ("{} Assistant", "Intern {}", "Junior {} Analyst", "{} Coordinator", "{} Administrator"),
        ("{} Specialist", "{} Analyst", "Senior {} Analyst", "{} Consultant", "{} Officer"),
        ("{} Manager", "Manager, {}", "Senior Manager {}", "Team Lead {}", "{} Project Manager", "{} Lead"),
        ("Head of {}", "Director {}", "{} Director", "Director of {}", "Vice President {}"),
    ),
    "de": (
        ("Assistenz {}", "Werkstudent {}", "Sachbearbeiter {}", "Sachbearbeiterin {}", "Praktikantin {}"),
        ("Referent {}", "Referentin {}", "{}-Spezialist", "Fachkraft {}", "Mitarbeiter {}"),
        ("Teamleiter {}", "Gruppenleiterin {}", "Projektleiter {}", "Manager {}", "Abteilungsleiter {}"),
        ("Leiter {}", "Leiterin {}", "Bereichsleiter {}", "Hauptabteilungsleiter {}", "Direktor {}"),
    ),
    "fr": (
        ("Assistante {}", "Stagiaire {}", "Alternant {}", "Gestionnaire {}"),
        ("Chargé de mission {}", "Analyste {}", "Spécialiste {}", "Chargée {}"),
        ("Chef de projet {}", "Responsable {}", "Chef de service {}", "Resp. pôle {}"),
        ("Directeur {}", "Directrice {}", "Responsable national {}", "Directeur adjoint {}"),
    ),
    "es": (
        ("Auxiliar de {}", "Becario {}", "Administrativa de {}", "Asistente de {}"),
        ("Técnico de {}", "Analista de {}", "Especialista en {}"),
        ("Jefe de {}", "Jefa de Proyecto {}", "Responsable de {}", "Coordinador de {}"),
        ("Director de {}", "Directora de {}", "Subdirector de {}", "Gerente de {}"),
    ),
}
_SHORTENED = (
    ("Manager", "Mgr"), ("Director", "Dir."), ("Senior", "Sr."), ("Human Resources", "HR"), ("Vice President", "VP"),
    ("Operations", "Ops"), ("Abteilungsleiter", "AL"), ("Leiter", "Ltr."), ("Projektleiter", "PL"),
    ("Marketing", "Mktg"),
    ("Geschäftsführer", "Gf."), ("Responsable", "Resp."), ("Directeur", "Dir."), ("Recursos Humanos", "RRHH"),
    ("Officer", "Off."),
    ("ressources humaines", "RH"), ("Engineering", "Eng."),
)  # fmt: skip


def draw_title(dice: Dice, function: str, level: int, language: str) -> str | None:
    """Draw a title for a function and a level (0 assistant .. 4 board), as someone typed it; often blank."""
    if dice.yes(BLANK_SHARE):
        return dice.choice((None, None, None, "", "-", "n/a"))
    if dice.yes(0.15):  # firms everywhere like English titles
        language = "en"
    if level >= len(_LEVELS[language]):
        written = dice.choice(_TOP[language][function])
    else:
        written = dice.choice(_LEVELS[language][level]).format(_FIELD[language][function])
    return _as_typed(dice, written)


def _as_typed(dice: Dice, title: str) -> str:
    how = dice.random()
    if how < 0.08:
        return title.upper()
    if how < 0.16:
        return title.lower()
    if how < 0.28:
        return _shortened(title)
    if how < 0.33:
        return _typo(dice, title)
    if how < 0.37:
        return f" {title} "
    return title


def _shortened(title: str) -> str:
    for long, short in _SHORTENED:
        title = title.replace(long, short)
    return title


def _typo(dice: Dice, title: str) -> str:
    place = dice.randrange(max(1, len(title) - 1))
    return title[:place] + title[place + 1 : place + 2] + title[place : place + 1] + title[place + 2 :]
