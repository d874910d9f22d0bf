"""Invented people's names of several cultures and the words companies are named with. All of it is made up."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crmbridge.demo.dice import Dice

# A name is written as it is; where it is not in Latin letters, "native|latin" gives the spelling used in addresses.
FIRST_NAMES: dict[str, str] = {
    "en": (
        "James Emma Oliver Grace Liam Sophie Daniel Hannah Robert Kate Michael Susan Peter Alice Tom Rachel Ian Fiona"
        " Neil Joanna Stephen Laura Mark Ruth Andrew Helen Paul Megan Simon Claire"
    ),
    "de": (
        "Jürgen Anke Matthias Käthe Stefan Sabine Thomas Heike Björn Uschi Michael Petra Jörg Silke Andreas Monika"
        " Lukas Jana Günther Bärbel Tobias Katrin Ulrich Anja Frank Birgit Sören Antje"
    ),
    "fr": (
        "Hélène François Amélie Jérôme Céline Rémi Sylvie Guillaume Chloé Étienne Aurélie Benoît Noémie Loïc Mathilde"
        " Olivier Valérie Pascal Anaïs Thierry Jean-Luc Anne-Marie"
    ),
    "es": (
        "José María Íñigo Lucía Andrés Begoña Álvaro Inés Joaquín Nuria Raúl Mónica Javier Pilar Óscar Marta Sergio"
        " Rocío Ángel Elena Hernán Ximena"
    ),
    "nordic": "Åsa Søren Ingrid Lars Bjørn Sigrún Mikkel Astrid Jukka Päivi Göran Kirsten Øyvind",
    "pl": "Paweł Agnieszka Łukasz Małgorzata Michał Żaneta Krzysztof Joanna Tomáš Jiří Kateřina Zoltán Ágnes",
    "tr": "Ayşe Çağlar Gökhan Şebnem Mehmet İrem Okan Zeynep Ömer Elif",
    "in": "Priya Rahul Ananya Vikram Deepa Arjun Kavya Sanjay Meera Rohan Lakshmi Suresh",
    "zh": "伟|Wei 芳|Fang 娜|Na 敏|Min 静|Jing 磊|Lei Xiaoming Yan",
    "ja": "健|Ken 陽子|Yoko 大輔|Daisuke 美咲|Misaki Hiroshi Akiko 翔|Sho 由美|Yumi",
    "el": "Ελένη|Eleni Γιώργος|Giorgos Νίκος|Nikos Ольга|Olga Дмитрий|Dmitri Ирина|Irina",
    "ar": "Fatima Omar Layla Yusuf Nour Karim Amina Hassan",
}
LAST_NAMES: dict[str, str] = {
    "en": (
        "Ashworth Bramley Carter Dunmore Ellison Fairweather Granger Hollis Ingram Jessop Kirkwood Langley Merrick"
        " Norwood Oakley Pemberton Quigley Rowntree Sheldon Thornbury Underhill Venning Whitlock Yardley O'Hara"
        " MacBride Smith-Loe Sinclair"
    ),
    "de": (
        "Achterberg Brückner Dänzer Eichholz Förster Großmann Hölzel Jäger Kühnapfel Lindenau Möckel Nüßlein Öhler"
        " Pfützner Quandt Rößler Schönefeld Tröger Überall Voßkamp Weißhaupt Zöllner Bauer Krämer"
    ),
    "fr": (
        "Aubépine Beaulieu Châtelain Delacourt Énault Fontenoy Gérardin Hébrard Jolivet Lefèvre Maréchal Noël"
        " Pâquerette Quéré Rivière Saint-Clair Théry Vallée d'Aubigny"
    ),
    "es": (
        "Aróstegui Bermúdez Cáceres Domínguez Echeverría Fuentes García-Luna Hinojosa Ibáñez Jiménez Lázaro Muñoz"
        " Núñez Ordóñez Peñalver Quiroga Ríos Sáenz Tapia Zúñiga"
    ),
    "nordic": "Ångström Bjørnstad Dahlgård Eklöf Fjeldså Grönroos Håkansson Jónsdóttir Kjær Lindqvist Mäkelä Øster",
    "pl": "Błaszczyk Czyżewska Dąbrowski Głowacki Jabłońska Kołodziej Łęcki Mroczek Nowák Švec Żurawski Horváth",
    "tr": "Akgün Çelikkol Demirbaş Erdoğdu Güneşli Işık Kılınç Özgür Şahingöz Yıldırım",  # noqa: RUF001
    "in": "Agarwal Bhattacharya Chandran Deshmukh Gopalan Iyer Kulkarni Menon Nambiar Raghavan Subramaniam",
    "zh": "李|Li 王|Wang 张|Zhang 陈|Chen 赵|Zhao 黄|Huang Lin Guo",
    "ja": "佐藤|Sato 鈴木|Suzuki 高橋|Takahashi 田中|Tanaka 渡辺|Watanabe Kobayashi Mori",
    "el": "Παπαδοπούλου|Papadopoulou Αντωνίου|Antoniou Дьяченко|Dyachenko Соколова|Sokolova Козлов|Kozlov",
    "ar": "Haddad Nasser El-Amin Khoury Rahmani Saleh Benali",
}
LOCAL_CULTURE = {"en": "en", "de": "de", "fr": "fr", "es": "es"}
_SPECIAL = str.maketrans(
    {"ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "ı": "i", "æ": "ae", "'": "", ".": "", " ": ""}  # noqa: RUF001
)
_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})

_FIRM_WORDS: dict[str, str] = {
    "stems": (
        "Alder Aurora Basalt Bergfeld Birke Brandt Calder Cardo Castellan Cobalt Corvus Delft Dorn Elbe Ember"
        " Estrella Fabrik Falke Ferro Fjord Garonne Granit Halcyon Harbour Hexa Iberia Ilmenau Jura Kestrel Kiefer"
        " Lumen Lune Marisol Meridian Montaña Nebel Nordwind Novum Oriel Orchard Pallas Pinar Quarz Quercus Ravel"
        " Rhône Saffron Sierra Sonne Tansy Tejo Thorn Ulme Umbra Vega Verdant Weser Wren Xenon Yarrow Zenit Zephyr"
    ),
    "trades": (
        "Logistics Foods Energy Systems Chemicals Textiles Robotics Health Insurance Bank Packaging Optics Software"
        " Media Airlines Marine Steel Paper Pharma Retail Telecom Motors Werke Maschinenbau Technik Versicherung"
        " Industries Électronique Santé Alimentos Construcción Seguros"
    ),
}
FIRM_STEMS, FIRM_TRADES = (words.split() for words in _FIRM_WORDS.values())
FIRM_FORMS = {
    "en": ("Ltd", "Inc.", "plc", "LLC", ""),
    "de": ("GmbH", "AG", "GmbH & Co. KG", "SE", ""),
    "fr": ("SA", "SAS", "SARL", ""),
    "es": ("S.A.", "S.L.", ""),
}


def split_name(written: str) -> tuple[str, str]:
    """Return the name as shown and its spelling in an address."""
    shown, _, latin = written.partition("|")
    return shown, latin or shown


def plain(text: str, language: str = "en") -> str:
    """Fold a name to what an address can hold: a-z, 0-9 and hyphens; German umlauts become two letters."""
    if language == "de":
        text = text.translate(_GERMAN)
    folded = unicodedata.normalize("NFKD", text.translate(_SPECIAL))
    return "".join(letter for letter in folded.lower() if letter.isascii() and (letter.isalnum() or letter == "-"))


_FIRSTS = {culture: names.split() for culture, names in FIRST_NAMES.items()}
_LASTS = {culture: names.split() for culture, names in LAST_NAMES.items()}
_CULTURES = tuple(_FIRSTS)


def draw_name(dice: Dice, language: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Draw a first and a last name, each as (shown, latin); two people in three have a name of the firm's country."""
    culture = LOCAL_CULTURE[language] if dice.yes(0.66) else dice.choice(_CULTURES)
    return split_name(dice.choice(_FIRSTS[culture])), split_name(dice.choice(_LASTS[culture]))
