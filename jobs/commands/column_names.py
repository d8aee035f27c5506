"""What a column's name says: its words, and whether they name who acts, what is acted on, or a direction."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache


def split_words(text: str) -> tuple[str, ...]:
    """Return the words of a vocabulary that is written as one text."""
    return tuple(text.split())


#: Who acts, the likeliest first; then the same in other languages.
ACTORS = split_words(
    """
    user usr uid customer cust client visitor member account subscriber shopper buyer consumer household viewer
    listener reader player student learner patient guest passenger borrower person reviewer author profile subject
    candidate applicant employee
    usuario cliente utilisateur kunde nutzer benutzer utente klant gebruiker klient uzytkownik mitglied membre
    miembro socio comprador acheteur besucher visiteur lecteur leser alumno aluno paciente kullanici musteri pengguna
    pelanggan kund anvandare bruger пользователь покупатель клиент 用户 用戶 顧客
    username email login
    """
)
#: What is acted on. What others are described by (an item's brand, a song's artist) comes late.
OBJECTS = split_words(
    """
    item product prod sku asin isbn stock article movie film video song track book game app paper news story post
    question photo image pin recipe course auction lot repo repository project job listing content document doc
    hotel restaurant business venue poi place location spot station podcast show episode bookmark
    anime manga joke beer wine
    producto produto produit produkt prodotto artikel articulo artigo articolo pelicula filme libro livre livro buch
    cancion chanson lied musica ware receta rezept urun barang produk vara товар фильм книга 商品 物品
    ad creative campaign drug gene series album artist band channel group community subreddit team merchant
    store shop seller brand category genre tag topic tweet thread playlist board page url property site domain
    keyword hashtag exercise lesson exam event service plugin disease compound chemical protein reference
    vendor publisher supplier provider manufacturer developer advertiser retailer carrier
    """
)
#: What an actor does things in: an end only where nobody acts.
OCCASIONS = split_words(
    """
    session basket cart order invoice transaction receipt trx txn ticket trip visit device cookie card
    sesion sitzung pedido factura commande bestellung rechnung warenkorb
    """
)
#: The other end where both are of the actor's type.
PEERS = split_words(
    """
    friend follower followee followed following follows contact neighbor neighbour peer trusted trustee
    depends dependency requires imports cites calls mentions
    """
)
#: Ends of one pair, of one type.
DIRECTIONS = tuple(
    (left, right)
    for left, rights in {
        "src": "dst dest tgt target", "source": "target destination dest sink", "from": "to", "head": "tail",
        "orig": "dest", "origin": "destination dest", "sender": "receiver recipient",
        "caller": "callee called", "calling": "called", "debit": "credit",
        "follower": "followee followed following", "citing": "cited", "u": "v", "left": "right", "a": "b", "x": "y",
        "i": "j", "start": "end", "parent": "child", "payer": "payee", "1": "2", "0": "1", "truster": "trustee",
        "trustor": "trustee", "rater": "rated ratee", "inviter": "invitee", "mentor": "mentee", "first": "second",
        "upstream": "downstream", "exporter": "importer", "ego": "alter", "package": "needs", "donor": "recipient",
        "home": "away", "white": "black", "winner": "loser", "old": "new",
        "reporter": "partner", "prev": "curr next current", "previous": "current next",
        "origen": "destino", "origem": "destino", "origine": "destination", "von": "nach", "quelle": "ziel",
        "emisor": "receptor", "mittente": "destinatario", "absender": "empfanger empfaenger",
        "auftraggeber": "empfanger empfaenger", "expediteur": "destinataire", "ordenante": "beneficiario",
    }.items()
    for right in rights.split()
)  # fmt: skip
_ID = frozenset(
    split_words(
        """
        id ids ix idx key uuid guid uid uri code hash number num no nr nbr nummer numero ref sk pk fk codigo clave cle
        barcode ifa idfa gaid
        """
    )
)
#: Words that say how something is written, not what it is.
_FILLERS = _ID | frozenset(
    split_words(
        """
        name nm title token encoded enc anon unique pseudo hashed masked md5 iso the of on nombre nom nome label
        """
    )
)
NODES = frozenset(
    split_words("node vertex ip account bank wallet address phone email city airport country host user iban msisdn")
)
_NOUNS = frozenset((*ACTORS, *OBJECTS, *OCCASIONS))
_NO_IDS = frozenset(split_words("valid invalid covid android hybrid rapid liquid avoid"))
#: End as agents do, and are things.
_NO_AGENTS = split_words(
    """
    number order gender server router sensor container cluster folder counter error color printer computer
    sector vector factor indicator committee degree fee
    """
)
_TYPED = re.compile(r":(token|float|token_seq|float_seq)$", re.I)  # RecBole
_INDEX = re.compile(r"(unnamed[:_ ]*\d*|index|level_\d|__index_level_\d+__|row|row_?(id|num|number|no|ix)|rn|#|)", re.I)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")


@dataclass(frozen=True)
class ColumnName:
    """``words`` without those that say how a value is written; ``is_id`` if one of those says that it is an id."""

    text: str
    words: tuple[str, ...]
    is_id: bool

    @property
    def head(self) -> str:
        """The word that says what the column holds: the last."""
        # Product2Id holds products; what "2" says beside a "1" is a direction.
        return next((word for word in reversed(self.words) if not word.isdecimal()), "")

    @property
    def stem(self) -> str:
        """A name for what is identified."""
        return "_".join(self.words)

    @property
    def acts(self) -> bool:
        """Whether it may name who acts: a word for that, or one that ends as such words do (streamer, editor)."""
        return self.is_agent or any(word in ACTORS or word in OCCASIONS for word in self.words)

    @property
    def is_agent(self) -> bool:
        """Whether its last word is made of what somebody does: streamer, bidder, editor."""
        ends_so = self.head.endswith(("er", "or", "ee")) and len(self.head) > 4 and not self.head.endswith(_NO_AGENTS)
        return ends_so and self.rank_in(OBJECTS) is None and self.rank_in(OCCASIONS) is None

    @property
    def is_acted_on(self) -> bool:
        """Whether a word before the last says that something is done to it: mentioned_user, engaged_with_user."""
        return any(word.endswith("ed") and not word.endswith("eed") for word in self.words[:-1])

    def rank_in(self, vocabulary: tuple[str, ...]) -> int | None:
        """Place of the head in a vocabulary, the likeliest first; None if it is no word of it."""
        return next((vocabulary.index(form) for form in _singular(self.head) if form in vocabulary), None)

    def without(self, word: str) -> ColumnName | None:
        """The name without a word that tells a direction; None if it has no such word."""
        if word not in self.words:
            return None
        position = self.words.index(word)
        return ColumnName(self.text, self.words[:position] + self.words[position + 1 :], self.is_id)


@lru_cache(maxsize=4096)
def parse_name(text: str) -> ColumnName:
    """Part a name into words: user_id, userId, USER-ID, userid and "user id" say the same."""
    plain = unicodedata.normalize("NFKD", _TYPED.sub("", text.strip()))
    plain = unicodedata.normalize("NFC", "".join(letter for letter in plain if not unicodedata.combining(letter)))
    words: list[str] = []
    for word in _WORD.findall(plain):
        words += _split_word(word.lower())
    content = tuple(dict.fromkeys(word for word in words if word not in _FILLERS))  # once: beer_beerid
    return ColumnName(text, content, any(word in _ID for word in words))


def is_index_name(text: str) -> bool:
    """Whether a name is one that programs give to the number of a row."""
    return _INDEX.fullmatch(text.strip()) is not None


def _split_word(word: str) -> list[str]:
    """Part words written as one, such as userid, iduser and artistname, where the other half is a word known here."""
    if parts := _split_affix(word, _FILLERS, _is_known):
        return parts
    for cut in range(2, len(word) - 2):  # productsku, fullvisitor, pulocation
        shortest = 5 if cut > 2 else 7
        if word[cut:] in _NOUNS and (len(word) - cut >= shortest or (cut > 2 and word[:cut] in _NOUNS)):
            return [word[:cut], word[cut:]]
    if word in _NOUNS:
        return [word]
    if word.endswith("id") and len(word) > 4 and word not in _NO_IDS:
        return [*_split_word(word.removesuffix("id")), "id"]
    sides = {side for pair in DIRECTIONS for side in pair if len(side) > 1}
    parts = _split_affix(word, sides, lambda base: _is_known(base) or base in NODES or base in _FILLERS)
    return parts or [word]


def _split_affix(word: str, affixes: Iterable[str], is_base: Callable[[str], bool]) -> list[str] | None:
    """Part a word into the longest affix, at either end, and the base that it leaves."""
    for affix in sorted(affixes, key=len, reverse=True):
        for base, parts in (
            (word.removesuffix(affix), [word.removesuffix(affix), affix]),
            (word.removeprefix(affix), [affix, word.removeprefix(affix)]),
        ):
            if base != word and is_base(base):
                return parts
    return None


def _is_known(word: str) -> bool:
    return any(form in vocabulary for form in _singular(word) for vocabulary in (ACTORS, OBJECTS, OCCASIONS, PEERS))


def _singular(word: str) -> list[str]:
    """A word, and what it may be the plural of."""
    forms = [word]
    for ending, instead in (("ies", "y"), ("es", ""), ("s", ""), ("en", "e"), ("n", "")):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            forms.append(word.removesuffix(ending) + instead)
    return forms
