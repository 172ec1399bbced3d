"""Words for one thing: which tags are written differently but mean the same in captions.

Three kinds of evidence, each on its own:

* spelling: British and American, joined, hyphened or open ("surf board", "surfboard"): merged wherever both occur;
* the curated groups below: everyday synonyms of captions that are safe in any context;
* WordNet, where it is installed and asked for (`merge = "wordnet"`): a pair from one synset is merged only where the
  captions use both in the same company, so that "bat", "crane" and "mouse" stay apart.
"""

# First: the name preferred where both are equally frequent.
GROUPS: tuple[tuple[str, ...], ...] = tuple(
    tuple(name.strip() for name in line.split(","))
    for line in """
couch, sofa, settee
tv, television, television set, t.v., telly
bicycle, bike, push bike
motorcycle, motorbike, motor bike, motor cycle
refrigerator, fridge
airplane, plane, aeroplane, air plane
cell phone, cellphone, cellular phone, mobile phone, cellular telephone, mobile telephone
smartphone, smart phone
phone, telephone
taxi, cab, taxi cab, taxicab
traffic light, traffic signal, stop light, stoplight
trash can, garbage can, trashcan, rubbish bin, trash bin, garbage bin, waste bin, wastebasket
laptop, laptop computer, notebook computer
desktop computer, desk top computer
police officer, policeman, cop, policewoman
fireman, firefighter, fire fighter
man, guy, gentleman, fellow, dude
woman, lady
child, kid
baby, infant
kitten, kitty
puppy, pup
dog, doggy, doggie
sidewalk, pavement, footpath
wetsuit, wet suit
bathtub, bath tub, tub
bathroom, washroom
vegetable, veggie
glasses, eyeglasses, spectacles
computer, pc
photographer, camera man, cameraman
mom, mum, mommy
dad, daddy
ketchup, catsup
sunglasses, sun glasses
pajamas, pyjamas
sneaker, tennis shoe, trainer
seagull, sea gull, gull
hot dog, hotdog
hamburger, burger
french fries, french fry, fries
movie theater, cinema
gas station, petrol station
truck, lorry
railroad track, railway track, train track, rail track
train station, railway station, railroad station
fire truck, firetruck, fire engine
double decker bus, double deck bus, double decker, double bus
school bus, schoolbus
cabinet, cupboard
stove, stovetop, stove top, cooker
microwave, microwave oven, micro wave
countertop, counter top
tablecloth, table cloth
toothbrush, tooth brush
colorful, multicolored, multi colored, colourful
lie, lie down, lay, lay down
tie, necktie, neck tie
bow tie, bowtie
person, human, human being, individual
teddy bear, teddy, stuffed bear
stuffed animal, stuffed toy, plush toy, plush animal, soft toy
wii, nintendo wii
wii remote, nintendo wii remote, wiimote
wii controller, nintendo wii controller, nintendo controller
game controller, video game controller, gaming controller
remote control, remote, remote controller
frisbee, flying disc, frisbee disc
baseball player, ball player, ballplayer
jet, jet plane, jet airplane
jetliner, jet liner
airliner, air liner, commercial airliner
passenger plane, passenger airplane, passenger aircraft
seaplane, sea plane
biplane, bi plane
sailboat, sail boat, sailing boat
flower pot, flowerpot
tv screen, television screen
flat screen tv, flat screen television, flat screen
mouse, computer mouse
keyboard, computer keyboard
monitor, computer monitor
picture frame, photo frame
night stand, nightstand, bedside table, night table
dining table, dinner table, dining room table
luggage, baggage
suitcase, luggage bag, suit case
purse, handbag, hand bag, pocketbook
backpack, back pack, rucksack, knapsack
jeans, blue jeans, denim jeans
t-shirt, t shirt, tee shirt, tee-shirt
swimsuit, swim suit, bathing suit, swimming suit
swimming trunks, swim trunks, trunks
cowboy hat, cow boy hat
baseball cap, baseball hat, ball cap
hair dryer, hairdryer, blow dryer, hair drier
street light, streetlight, street lamp, streetlamp, lamp post, lamppost
clock tower, clocktower
windowsill, window sill, windowsil
christmas tree, xmas tree
countryside, country side
seaside, sea side
night, nighttime, night time
hillside, hill side
riverbank, river bank
backyard, back yard
mountain side, mountainside
forest, woods
living room, livingroom, family room
bedroom, bed room
dining room, diningroom
restroom, rest room
police car, cop car, patrol car
pickup truck, pick up truck, pickup
semi truck, semi, semi trailer truck, tractor trailer
tow truck, towing truck
steam engine, steam locomotive
train engine, locomotive
""".strip().splitlines()
)

# British and other spellings, by word; applied to every word of a tag.
SPELLINGS: dict[str, str] = {
    "racquet": "racket", "doughnut": "donut", "tyre": "tire", "kerb": "curb", "theatre": "theater", "centre": "center",
    "grey": "gray", "colour": "color", "coloured": "colored", "colourful": "colorful", "harbour": "harbor",
    "neighbour": "neighbor", "neighbourhood": "neighborhood", "flavour": "flavor", "pyjamas": "pajamas",
    "aeroplane": "airplane", "moustache": "mustache", "moustached": "mustached", "plough": "plow",
    "jewellery": "jewelry", "aluminium": "aluminum", "fibre": "fiber", "metre": "meter", "litre": "liter",
    "cheque": "check", "chequered": "checkered", "mould": "mold", "moulding": "molding", "yoghurt": "yogurt",
    "programme": "program", "catalogue": "catalog", "omelette": "omelet", "whisky": "whiskey", "draught": "draft",
    "sceptic": "skeptic", "storey": "story", "armour": "armor", "honour": "honor", "parlour": "parlor",
    "savour": "savor", "vapour": "vapor", "woollen": "woolen", "blond": "blonde", "barbeque": "barbecue",
    "bbq": "barbecue", "catsup": "ketchup", "tumour": "tumor", "odour": "odor",
    "waggon": "wagon", "ax": "axe", "cosy": "cozy", "licence": "license", "pretence": "pretense", "sabre": "saber",
    "calibre": "caliber", "sombre": "somber", "spectre": "specter", "lustre": "luster",
    "travelled": "traveled", "labelled": "labeled", "wooly": "woolly", "kerbside": "curbside",
}  # fmt: skip
