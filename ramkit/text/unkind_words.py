"""What sentences from WordNet leave out: slurs, and people named by ethnicity, faith, sexuality, disability, servitude
or prostitution.

WordNet is a dictionary: it lists such words among the sorts and names of a person as it lists trades. In a photo's
descriptions they are at best beside the point, since no photo shows a faith, and at worst an insult. WordNet marks
some of them itself, by usage domains; most it does not mark, so lists stand here beside its marks. A tag that is
itself such a word stays what it is: who typed it gets the template and what else is kind.
"""

import re
from typing import Any


def _names_in(text: str) -> frozenset[str]:
    return frozenset(text.split(","))


# Usage domains (pointers ;u) by the first name of their sense. Slang is left out where it is of people.
_DOMAINS = {"ethnic_slur", "disparagement", "obscenity"}

# Names with other, innocent senses: they count where WordNet means a person, and for what is a kind of such a person.
UNKIND_PERSONS = _names_in(
    "abomination,agnostic,asthmatic,b-girl,babu,bad person,baggage,ball-buster,bimbo,bitch,black,"
    "black man,black woman,bluestocking,broad,cannon fodder,catamite,chachka,chebab,chink,chit,chump,"
    "chutzpanik,clumsy person,color-blind person,coquette,creature,dame,deaf person,defecator,dominatrix,"
    "drug user,dupe,dyke,dyslectic,ejaculator,ethnic,eunuch,eyeful,fat person,fool,galoot,geezer,gentile,"
    "gold digger,gull,half-breed,handicapped person,heterosexual,homosexual,homunculus,hooker,jilt,"
    "kerb crawler,kink,large person,loser,maenad,mark,masturbator,mestiza,mestizo,mistress,mixed-blood,"
    "mutilator,native,nonperson,nonreligious person,nude,nymph,nymphet,ogler,old maid,outcaste,pachuco,"
    "pansexual,party girl,patsy,person of color,pisser,ponce,primitive,pussycat,religious person,scab,"
    "schlockmeister,scrubber,segregate,sensualist,serf,sex kitten,sex object,sex symbol,silly,simpleton,"
    "skirt,slave,small person,smasher,spinster,stripper,stud,sucker,sweater girl,swinger,tart,tramp,"
    "transsexual,transvestite,unpleasant person,unskilled person,unwelcome person,visually impaired person,"
    "voyeur,weakling,white,white man,white woman,whoremaster,womanizer,working girl,yellow man,yellow woman,"
    "young buck"
)
# Persons whose names begin with a capital are of a people, a faith or a place, but for these.
_CAPITALS = re.compile(r"Marine|Mountie|Texas Ranger|Green Beret|(\w+ )?Scout|Olympian|May queen")

# Words that no sentence about a photo needs, in whatever sense.
_ANYWHERE = re.compile(
    r"\b(nigger|negro(es|id)?|wop|kike|spic|gook|wog|coolie|pickaninny|darky|darkie|blackamoor|half-caste|half-breed|"
    r"mulatto(es)?|quadroon|octoroon|squaw|papoose|redskin|red indian|american indian|gyps(y|ies)|gips(y|ies)|eskimo|"
    r"shiksa|shegetz|papist|kaffir|hottentot|whitey|chinaman|jew|jewess|prostitut(e|ion)|whores?|whoring|harlot|"
    r"strumpet|trollop|floozy|streetwalker|courtesan|concubine|brothel|catamite|pederast|jezebel|bimbo|nymphet|slut|"
    r"bitch|bastard|slave|slavery|serfdom|retarded|retardate|cripple|crippled|imbecile|moron|idiot|cretin|mongoloid|"
    r"spastic|lunatic|midget|faggot|fagot|lesbian|homosexual|transvestite|hermaphrodite|priapic|"
    r"sexual (passion|relationship|intercourse)|fuck|fucking|asshole|cunt|"
    r"ethnic slurs?|disparaging|derogatory|obscene|(jewish|muslim|moslem|hindu|christian|negro|black|white|indian|"
    r"african|asian|oriental|colored) (person|people|m[ae]n|wom[ae]n|child|children|infant|races?))s?\b",
    re.IGNORECASE,
)


def holds_unkind(text: str, *, but: str = "") -> bool:
    """Whether a sentence has a word that is left out in every sense; `but`, the tag it tells of, does not count."""
    own = rf"\b{re.escape(but)}\b" if but else r"(?!)"
    return _ANYWHERE.search(re.sub(own, "", text, flags=re.IGNORECASE)) is not None


def is_unkind_name(name: str) -> bool:
    """Whether a person is not to be called that."""
    capital = name[:1].isupper() and not _CAPITALS.fullmatch(name)
    return capital or name.lower() in UNKIND_PERSONS or holds_unkind(name)


def is_unkind(sense: Any) -> bool:
    """Whether a WordNet sense is left out of lists: by its usage domain; of persons, by its name or its kind, too."""
    person = is_person(sense)
    marks = {domain.lemma_names()[0] for domain in _usage_domains(sense)}
    if marks & _DOMAINS or (person and "slang" in marks):
        return True
    names = [name.replace("_", " ") for name in sense.lemma_names()]
    if not person:
        return holds_unkind(names[0])
    kinds = sense.closure(lambda one: one.hypernyms())
    return is_unkind_name(names[0]) or any(_first(kind) in UNKIND_PERSONS for kind in kinds if is_person(kind))


def is_person(sense: Any) -> bool:
    """Whether a sense is of people, each or in general."""
    return str(sense.lexname()) == "noun.person" or _first(sense) == "person"


def _first(sense: Any) -> str:
    return str(sense.lemma_names()[0]).replace("_", " ").lower()


def _usage_domains(sense: Any) -> list[Any]:
    """Of the sense and of its first name, which lists use: WordNet marks some names alone."""
    return [*sense.usage_domains(), *(domain.synset() for domain in sense.lemmas()[0].usage_domains())]
