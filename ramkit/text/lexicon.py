"""Word lists of caption English: what the grammar alone cannot tell.

A dependency parse says that "top" heads "top of the table"; it takes a word list to know that a top is no object.
Each list says in one line what the parser does with its words. Lemmas, lower case, one space between words.
"""


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def lines(text: str) -> frozenset[str]:
    return frozenset(line for part in text.split("\n") for line in [part.strip()] if line)


# Heads of "X of Y" that only count Y: dropped, Y takes their place.
QUANTITIES = words("""
    couple group bunch pair lot number variety set series row piece slice pile stack assortment array collection kind
    type sort part portion dozen hundred thousand million bit range selection handful cluster bundle batch heap load ton
    plenty majority section strip body amount mixture mix line trio duo style form multitude ounce pound half quarter
    chunk sliver host mass string side layer patch sheet stretch display arrangement abundance lots pairs mound loaf
""")

# Heads of "X of Y" that name the picture itself: dropped, Y takes their place, also as "Y in X".
MEDIA = words("""
    picture photo photograph image view shot scene closeup close-up snapshot portrait depiction illustration
    rendering glimpse selfie pic footage collage angle perspective caption photography version silhouette
""")
MEDIA_KEPT = words("selfie portrait collage silhouette illustration")  # say what the photo is: kept as a tag

# Places on or around a thing, and other nouns that name nothing one can point at: never a tag by themselves.
LOCATIVES = words("""
    start top front side background back middle end edge bottom left right foreground distance center centre
    inside outside rear way area place spot position direction corner tip underside surroundings surrounding
    vicinity midst location setting interior exterior surface center-stage sideways midair upside downside half
    opposite behind base airside length height angle angles above below beyond across
""")
ABSTRACT = words("""
    thing something anything everything nothing nobody other another one someone's somebody's everyone's anyone none all
    both each some many few several most day time fun kind part type sort style way order process progress action motion
    event occasion departure example fact idea reason use name word front-view state turn turns color colour colors
    shape size purpose behalf attempt effort help lot lots bit form moment shade tone focus variety number amount couple
    pair group bunch item object stuff piece set series row manner pattern speed look life love view scene picture photo
    photograph image shot closeup close-up snapshot pic sense addition condition quality level rest preparation
    anticipation attention opportunity chance conversation pose play theme topic fashion favor kinds sides duty support
    position work job fly stance total century year month week hour minute second today tomorrow yesterday era age date
    past future copy stock vector file jpg jpeg png img dsc hd wallpaper free download clipart background backgrounds
    air game match sport show standing land posture cold price sale discount offer review edition collection shipping
    pack brand
""")

# Adjectives that say how many, which or where, not how it looks: no attribute.
EMPTY_ADJECTIVES = words("""
    other several many few different various next ready about first second third last same own such full close more most
    much able available multiple numerous single back front top middle bottom left right rear mid intent visible certain
    main nearby upper lower opposite entire whole very double triple semi multi pre least less enough only sure due like
    unlike half up down over off out away alone interested aware likely else apart respective overall additional extra
    separate possible similar individual particular usual specific total general typical upside consecutive successive
    another each every both all some any dozen hundred capable busy-looking color colour early late worth good great
    best better new-look big-name oncoming underway uphill inside outside near past assorted diverse varied diffrent
    differnt dual previous following present former latter recent current actual haired fashioned shaped sized looking
    made real final next-door fashioned-looking included free subject
""")

COLOURS = words("""
    white black red blue green yellow brown orange pink purple gray grey silver gold golden tan beige teal turquoise
    maroon violet navy cream blonde blond multicolored multicoloured colorful colourful colored coloured ivory khaki
    lavender magenta crimson scarlet burgundy aqua cyan bronze copper rainbow peach brunette reddish greenish bluish
    brownish yellowish amber indigo lime olive
""")
AMBIGUOUS_COLOURS = words("orange gold silver bronze copper cream peach rainbow olive lime lavender violet amber")

# Nouns before a noun that say what it is made of or how it looks: attribute + object, no compound.
MATERIALS = words("""
    metal wood wooden brick stone concrete cement glass plastic leather steel iron marble granite paper cardboard gravel
    rubber wool cotton silk denim ceramic porcelain wicker bamboo vinyl chrome aluminum aluminium brass copper bronze
    oak mahogany cobblestone asphalt velvet linen plaid polka-dot crystal stucco adobe terracotta oriental khaki satin
    nylon toy neon camouflage camo vintage rainbow silver gold orange tan cream pink lilac peach teal turquoise maroon
    navy gray grey red white black blue green yellow brown purple jumbo male female giant miniature
""")

# Material + noun that is one thing after all.
MATERIAL_COMPOUNDS = lines("""
    paper towel
    paper plate
    paper bag
    paper cup
    paper airplane
    paper clip
    paper lantern
    cardboard box
    wool hat
    gold medal
    silver medal
    orange juice
    orange tree
    orange peel
    orange slice
    cream cheese
    cream pie
    rubber duck
    rubber boot
    rubber band
    plastic bag
    leather jacket
    steel drum
    wine glass
    polar bear
    black bear
    brown bear
    grizzly bear
    black sheep
    blue jay
    green bean
    green onion
    green pepper
    red pepper
    red carpet
    yellow jacket
    brussels sprout
    toy store
    toy shop
    toy box
    gold fish
    neon sign
    neon light
    brown rice
    white rice
    brown sugar
    white wine
    red wine
    green tea
    black tea
    black bean
    red panda
    silver ware
    glass house
    white board
    black board
""")

# Adjective (or participle) + noun that is one thing; written as lemmas.
FIXED_COMPOUNDS = lines("""
    hot dog
    living room
    dining room
    dining table
    dining chair
    waiting room
    waiting area
    changing room
    changing table
    dressing room
    meeting room
    sitting room
    laundry room
    fire hydrant
    stop sign
    stop light
    traffic light
    cell phone
    cellular phone
    mobile phone
    smart phone
    remote control
    remote controller
    stuffed animal
    stuffed bear
    teddy bear
    wet suit
    double decker
    double decker bus
    double deck bus
    cutting board
    ironing board
    diving board
    skating rink
    skating park
    skating bowl
    ice skating rink
    parking lot
    parking meter
    parking space
    parking garage
    parking area
    parking sign
    parking spot
    parking structure
    shopping cart
    shopping bag
    shopping mall
    shopping center
    shopping area
    swimming pool
    swimming trunk
    swimming suit
    fishing boat
    fishing pole
    fishing rod
    fishing net
    sailing boat
    sailing ship
    rowing boat
    running shoe
    walking stick
    walking path
    hiking trail
    hiking boot
    riding boot
    boxing glove
    boxing ring
    boxing game
    bowling ball
    bowling alley
    bowling pin
    bowling lane
    frying pan
    cooking pan
    cooking pot
    baking sheet
    baking pan
    baking dish
    mixing bowl
    measuring cup
    rolling pin
    serving tray
    serving dish
    serving plate
    serving spoon
    drinking glass
    drinking fountain
    drinking water
    steering wheel
    sewing machine
    washing machine
    vending machine
    slot machine
    rocking chair
    rocking horse
    folding chair
    folding table
    sleeping bag
    training wheel
    running track
    racing car
    racing track
    race track
    building block
    landing gear
    landing strip
    loading dock
    loading zone
    wedding cake
    wedding dress
    crossing sign
    crossing guard
    crossing signal
    crossing light
    railroad crossing
    pedestrian crossing
    knitting needle
    paving stone
    carving knife
    wrapping paper
    chewing gum
    jumping rope
    jumping ramp
    skating ramp
    surfing board
    writing desk
    reading glass
    lighting fixture
    polar bear
    bald eagle
    guinea pig
    golden retriever
    german shepherd
    high chair
    high heel
    high rise
    hard hat
    hard drive
    dry erase board
    dry cleaner
    flat screen
    flat screen tv
    flat screen television
    flat screen monitor
    screen tv
    big screen tv
    soft drink
    soft ball
    fast food
    french fry
    french toast
    french door
    french bread
    french bulldog
    french press
    hot tub
    hot chocolate
    hot sauce
    hot air balloon
    ice cream
    sour cream
    whipped cream
    mashed potato
    baked potato
    baked bean
    sweet potato
    grilled cheese
    scrambled egg
    fried egg
    fried chicken
    fried rice
    boiled egg
    deviled egg
    dried fruit
    potted plant
    cast iron
    pickup truck
    pick up truck
    semi truck
    semi trailer
    dump truck
    tow truck
    fire truck
    fire engine
    fire place
    electric guitar
    electric toothbrush
    electric razor
    electric fan
    electric scooter
    acoustic guitar
    musical instrument
    medical equipment
    public transportation
    public transit
    public restroom
    public bathroom
    public toilet
    first aid kit
    grand piano
    upright piano
    digital clock
    digital camera
    alarm clock
    grandfather clock
    analog clock
    roman numeral
    snowy owl
    wild flower
    wild animal
    little league
    major league
    big ben
    golden gate bridge
    eiffel tower
    statue of liberty
    times square
    empire state building
    space needle
    london eye
    tower bridge
    brooklyn bridge
    taj mahal
    lecture hall
    family portrait
    half pipe
    t shirt
    tee shirt
    x ray
    e mail
    air conditioner
    air conditioning unit
    bell pepper
    sub sandwich
    commercial airliner
    bunk bed
    sun glass
    eye glass
    home plate
    home base
    palm tree
    bridal party
    bridal gown
    barbed wire
    chain link fence
    picket fence
    christmas tree
    santa claus
    santa hat
    nintendo wii
    wii controller
    wii remote
    wii game
    nintendo controller
    mickey mouse
    hello kitty
    coca cola
    roller skate
    roller blade
    roller coaster
    roller skating
    merry go round
    sky diver
    one way sign
    dead end sign
    do not enter sign
    no parking sign
    yield sign
    speed limit sign
    speed limit
    street light
    street lamp
    street sign
    road sign
    ice cube
    bow tie
    neck tie
    flower pot
    steam train
    steam engine
    bullet train
    cruise ship
    life jacket
    life vest
    life guard
    life raft
    life boat
    surf board
    skate board
    snow board
    wake board
    kite board
    sail board
    boogie board
    body board
    paddle board
    ski board
    ski lift
    ski slope
    ski pole
    ski resort
    ski jump
    ski hill
    ski trail
    ski lodge
    ski gear
    ski suit
    ski mask
    ski boot
    ski jacket
    base ball
    basket ball
    foot ball
    soccer ball
    tennis ball
    tennis court
    tennis racket
    tennis racquet
    coffee cup
    coffee mug
    coffee maker
    coffee pot
    coffee table
    coffee shop
    wine glass
    wine bottle
    toilet paper
    toilet seat
    toilet bowl
    toilet lid
    toilet tank
    toilet brush
    toilet stall
    computer mouse
    desk top computer
    desktop computer
    lap top
    laptop computer
    tablet computer
    note book
    night stand
    night table
    night gown
    night club
    night time
    book shelf
    book case
    book bag
    back pack
    hand bag
    suit case
    brief case
    side walk
    cross walk
    cat walk
    board walk
    drive way
    run way
    stair case
    stair way
    hall way
    door way
    water way
    high way
    rail way
    rail road
    train track
    train station
    train car
    train engine
    bus stop
    bus station
    bus driver
    taxi cab
    yellow cab
    motor bike
    motor cycle
    motor scooter
    motor home
    motor vehicle
    dirt bike
    mountain bike
    tooth brush
    tooth paste
    tooth pick
    hair dryer
    blow dryer
    hair brush
    hair cut
    micro wave
    microwave oven
    toaster oven
    table cloth
    wheel chair
    arm chair
    lawn chair
    bean bag
    bean bag chair
    love seat
    bed room
    bath room
    rest room
    bath tub
    rain coat
    rain boot
    snow suit
    snow man
    space heater
    space shuttle
    space ship
    air plane
    air craft
    air port
    air field
    sea plane
    sea gull
    sea shell
    sea side
    sea food
    bird house
    bird cage
    bird bath
    bird feeder
    dog house
    fire man
    fire fighter
    police man
    police woman
    police officer
    police car
    snow boarder
    skate boarder
    kite boarder
    wind surfer
    wind surfing
    water ski
    water skier
    water skiing
    para sail
    para sailing
    para sailer
    cow boy
    cowboy hat
    baseball player
    batting cage
    pitching mound
    pitcher mound
    ferris wheel
    video game
    video game controller
    game controller
    board game
    card game
    ping pong
    ping pong table
    pool table
    pool cue
    hula hoop
    trash can
    garbage can
    garbage bag
    garbage truck
    recycling bin
    cup cake
    pan cake
    cheese cake
    pop corn
    pop sicle
    pine apple
    water melon
    straw berry
    blue berry
    corn dog
    bed spread
    blind fold
    counter top
    stove top
    table top
    roof top
    hill side
    mountain side
    country side
    store front
    water front
    ocean front
    side view mirror
    rear view mirror
    rearview mirror
    front door
    front yard
    back yard
    back door
    front porch
    front desk
    front wheel
    back wheel
    front leg
    hind leg
    back leg
    lego
    middle school
    high school
    high five
    thumbs up
    peace sign
    thumb up
    cotton candy
    peanut butter
    swiss cheese
    swiss army knife
    sporting event
    sporting equipment
    sporting good
    black board
    chalk board
    key board
    cupboard door
""")

# Compounds whose last word is another thing: a hot dog is no dog. Any other compound is also what its last word says.
OPAQUE = lines("""
    hot dog
    corn dog
    teddy bear
    stuffed bear
    guinea pig
    ice cream
    cutting board
    ironing board
    diving board
    home plate
    license plate
    flower bed
    truck bed
    train car
    rail car
    cable car
    street car
    passenger car
    dog house
    bird house
    doll house
    candy bar
    handle bar
    salad bar
    monkey bar
    night stand
    star fish
    sea lion
    sea horse
    horse power
    butter fly
    lady bug
    hot tub
    hot plate
    air port
    hot spring
    fire place
    soft drink
    cat fish
    ear ring
    head phone
    grand stand
    band stand
    key board
    cup board
    bus stop
    pit stop
    finger food
    mother board
    chalk board
    black board
    score board
    bulletin board
    ski lift
    fork lift
    face mask
    roller coaster
    gravy boat
    sugar bowl
    toilet bowl
    dust pan
    bed pan
    sky line
    power line
    finish line
    zip line
    clothes line
    base line
    space ship
    jelly fish
    rain bow
    elbow pad
    knee pad
    mouse pad
    launch pad
    toilet tank
    fish tank
    gas tank
    tank top
    counter top
    stove top
    table top
    roof top
    lap top
    desk top
    mountain top
    hill top
    goal post
    swim trunk
""")

# Places a photo is taken at, or times and weather it is taken in: kind "scene".
SCENES = words("""
    kitchen bathroom bedroom restroom room hallway hall lobby basement attic garage office restaurant cafe cafeteria
    bar pub diner bakery store shop supermarket market mall hotel hospital school classroom library museum church
    cathedral temple theater theatre stadium arena gym airport station terminal harbor harbour marina port beach coast
    shore shoreline coastline seashore ocean sea lake river pond stream creek bay waterfall swamp marsh island forest
    woods jungle rainforest desert mountain mountainside hill hillside valley canyon cliff field meadow pasture
    grassland savanna savannah prairie plain farm farmland ranch orchard vineyard garden park playground zoo aquarium
    campsite campground yard backyard courtyard lawn patio porch balcony street road highway freeway avenue boulevard
    alley alleyway lane intersection crosswalk sidewalk roadway crossroad crossroads downtown city town village suburb
    neighborhood neighbourhood countryside country wilderness landscape cityscape skyline seascape sunset sunrise dusk
    dawn night nighttime evening morning afternoon daytime twilight winter summer spring autumn fall storm rain
    rainstorm snowstorm fog outdoors indoors court rink pool bowling-alley skatepark slope runway tarmac
    airfield dock pier boardwalk wharf plaza square parade wedding party festival carnival circus concert
    race tournament picnic kitchenette den dining-room living-room nursery laundry closet barn stable corral
    warehouse factory workshop studio gallery classroom auditorium stage bus-stop driveway trail path pathway
    home waterway campus promenade riverbank riverside seaside lakeside waterfront wetland
    enclosure resort salon casino nightclub pharmacy deli pizzeria
""") | lines("""
    living room
    dining room
    parking lot
    train station
    bus station
    bus stop
    gas station
    subway station
    tennis court
    basketball court
    baseball field
    soccer field
    football field
    ski slope
    ski resort
    skate park
    skateboard park
    swimming pool
    bowling alley
    race track
    city street
    grocery store
    fire station
    police station
    amusement park
    night time
    night club
    construction site
    time square
    main street
    dirt road
    country road
    dirt field
""")
# A compound whose last word is one of these is a scene: "hotel room", "donut shop".
SCENE_HEADS = words("""
    room station park street court field store shop restaurant market lot stadium arena airport beach road
    highway forest garden mall museum school kitchen bathroom bedroom yard farm zoo rink resort office lobby
    hall cafe bar pool area scene terminal runway lake river city town village lane trail path avenue intersection
    playground campground harbor marina square plaza district game match race party parade festival
""")
NOT_SCENES = lines("""
    candy bar
    handle bar
    salad bar
    snack bar
    monkey bar
    chocolate bar
    granola bar
    bike lane
    bus lane
    football pool
    video game
    board game
    card game
    computer game
    wii game
""")

# Last words that add nothing to the words before them: "beach area" is beach, "park setting" is park.
WEAK_HEADS = words("""
    area setting scene background backdrop environment level edge surface section item theme image photo picture
    photograph view interior exterior type style kind sort side
""")
# First words that belong to no name: "adult elephant", "emo girl" are an attribute and an object.
NOUN_ATTRIBUTES = words("adult emo teen teenage infant juvenile senior punk goth hipster male female")
# People before another noun stand for themselves: "woman tennis player", "man surfer".
PEOPLE = words("man men woman women boy boys girl girls lady ladies guy guys kid kids child")
# Parts of words that hyphens leave over.
PREFIXES = words("anti non multi semi mid pre ex bi tri ultra super mini over under self co inter")
# Attributes of two words; the first noun is no object of its own.
FIXED_ATTRIBUTES = lines("""
    stainless steel
    polka dot
    wrought iron
    high rise
    old fashioned
    upside down
    half eaten
    full size
    life size
""")
# Nouns on -ing that are things; any other that follows a noun is a verb ("fire hydrant hiding").
ING_NOUNS = words("""
    building painting railing ceiling wedding clothing topping crossing parking landing opening drawing lighting evening
    morning string ring king thing wing swing spring sibling duckling pudding dressing icing frosting filling earring
    siding awning sting scaffolding bedding flooring seating marking writing carving offering wiring tubing fencing
    being lightning nothing something anything everything shading coloring engraving covering padding lining stuffing
    seasoning piping molding moulding paneling roofing rigging decking plumbing backing inning outing fishing-rod
    meeting gathering greeting setting feeling stocking stockings herring wing-wing training advertising housing bearing
    binding blessing boarding briefing coating counting engineering farming heading hearing holding listing living
    manufacturing-plant mining packaging packing planning printing processing programming rating recycling recording
    rendering reading-room sewing shipping spelling staffing tasting trading wrapping sling viking starling gosling
    sapling dumpling seedling sterling darling
""")
# Finite verbs the tagger takes for plural nouns where a caption has no other verb.
FINITE_VERBS = words("""
    rides walks runs jumps flies plays swings looks waits drives surfs skis travels poses smiles rests passes hits
    swims lies lays sleeps talks pulls eats watches throws catches skateboards snowboards grazes sits holds wears
    carries leans hangs reads speeds kneels readies stares gazes crosses perches serves cuts
""")
# Singular and plural alike: "sheep graze" has a verb.
ALSO_PLURAL = words("sheep people cattle deer fish men women children police bison moose")
# Adverbs that say where the photo was taken → scene.
ADVERB_SCENES = {"outside": "outdoors", "outdoors": "outdoors", "indoors": "indoors", "downtown": "downtown"}

# Countries, states, cities: names even where a title's capitals are lost.
PLACES = words("""
    africa alabama alaska algeria amsterdam argentina arizona arkansas asia athens atlanta australia austria bahamas
    bali bangkok bangladesh barcelona beijing belgium berlin bolivia boston botswana brazil brisbane britain brooklyn
    brussels budapest bulgaria california cambodia canada cardiff chicago chile china colombia colorado connecticut
    copenhagen cornwall croatia cuba cyprus czechia dallas delaware delhi denmark denver detroit devon dubai dublin
    ecuador edinburgh egypt england estonia ethiopia europe fiji finland florence florida france geneva georgia-usa
    germany glasgow greece greenland guatemala hamburg-germany hanoi havana hawaii helsinki hokkaido honduras honolulu
    houston hungary iceland idaho illinois india indiana indonesia iowa iran iraq ireland israel istanbul italy jakarta
    jamaica japan jerusalem jordan-river kansas kathmandu kent kentucky kenya kiev korea kyoto lancashire laos latvia
    lebanon lima lisbon lithuania liverpool london louisiana luxembourg lyon madagascar madrid maine-usa malaysia
    maldives malta manchester manhattan manila marrakech maryland massachusetts melbourne mexico miami michigan milan
    minneapolis minnesota mississippi missouri monaco mongolia montana montreal morocco moscow mozambique mumbai munich
    myanmar namibia naples nashville nebraska nepal netherlands nevada newcastle nigeria norfolk norway ohio oklahoma
    ontario oregon orlando osaka oslo ottawa pakistan panama paris patagonia pennsylvania peru perth philadelphia
    philippines phoenix-arizona pittsburgh poland portland portugal prague quebec queensland romania rome russia rwanda
    salzburg santorini sardinia scotland seattle seoul serbia shanghai siberia sicily singapore slovakia slovenia spain
    stockholm sumatra surrey sussex sweden switzerland sydney taiwan tanzania tasmania tennessee texas thailand tibet
    tokyo toronto tunisia tuscany uganda ukraine uk usa utah vancouver venice venezuela vermont vienna vietnam virginia
    wales warsaw washington wisconsin wyoming yorkshire zambia zanzibar zimbabwe zurich
""")
PLACE_NAMES = lines("""
    san francisco
    san diego
    san jose
    san antonio
    los angeles
    las vegas
    new york
    new york city
    new jersey
    new mexico
    new orleans
    new zealand
    new england
    new delhi
    hong kong
    south africa
    south korea
    sri lanka
    costa rica
    puerto rico
    saudi arabia
    united states
    united kingdom
    north carolina
    south carolina
    north dakota
    south dakota
    rio de janeiro
    buenos aires
    kuala lumpur
    tel aviv
    cape town
    salt lake city
    st louis
    st petersburg
    abu dhabi
    mexico city
    quebec city
""")

# Sports and games: the noun is an activity, also after play / game of / match of.
SPORTS = words("""
    tennis baseball soccer basketball football volleyball cricket golf hockey polo rugby badminton lacrosse croquet
    softball skateboarding snowboarding surfing skiing skating swimming cycling biking running jogging boxing wrestling
    yoga karate gymnastics archery bowling kayaking canoeing rafting sailing fishing hiking camping climbing
    parasailing windsurfing kiteboarding kitesurfing paragliding skydiving wakeboarding waterskiing bullfighting
    billiards chess checkers poker frolf dodgeball kickball judo diving rowing sledding motocross rodeo bodyboarding
    paddleboarding tubing
""") | lines("""
    ping pong
    table tennis
    water polo
    water skiing
    ice skating
    ice hockey
    cross country skiing
    roller skating
    para sailing
    wind surfing
""")

# Those that name a ball as well: "throws a baseball".
BALLS = words("baseball basketball football volleyball softball")

# Nouns that are actions when a light verb or "of"-less place has them: "takes a nap", "doing a trick".
NOMINAL_ACTIONS: dict[str, str] = {
    "nap": "sleep", "bite": "bite", "walk": "walk", "swim": "swim", "ride": "ride", "jump": "jump", "kick": "kick",
    "swing": "swing", "drink": "drink", "bath": "bathe", "shower": "shower", "look": "look", "rest": "rest",
    "break": "rest", "hug": "hug", "kiss": "kiss", "handstand": "handstand", "flip": "flip", "trick": "trick",
    "stunt": "trick", "dive": "dive", "turn": "turn", "dance": "dance", "conversation": "talk", "discussion": "talk",
    "chat": "talk", "speech": "speak", "picture": "photograph", "photo": "photograph", "photograph": "photograph",
    "selfie": "photograph", "snooze": "sleep", "stroll": "walk", "run": "run", "throw": "throw", "pitch": "pitch",
    "serve": "serve", "shot": "shoot", "haircut": "haircut", "sip": "drink", "lick": "lick", "smile": "smile",
    "wave": "wave", "yawn": "yawn", "catch": "catch", "slide": "slide", "grind": "grind", "wheelie": "wheelie",
    "leap": "jump", "race": "race", "meal": "eat", "snack": "eat", "lunch": "eat", "dinner": "eat",
    "breakfast": "eat", "ollie": "trick", "maneuver": "trick", "tour": "tour", "lesson": "teach", "fight": "fight",
    "massage": "massage", "shave": "shave", "show": "perform", "performance": "perform", "hit": "hit",
    "pic": "photograph",
}  # fmt: skip
LIGHT_VERBS = words("take have do give make get perform execute attempt go try pull throw enjoy")
# Always an action, whatever the verb.
ALWAYS_ACTIONS = words("trick stunt handstand wheelie nap haircut ollie")
# Their nouns that are things as well: kept as objects beside the action ("rides a wave", "eats a meal").
ALSO_THINGS = words("meal snack lunch dinner breakfast wave drink slide bath shower pitch")

# Verbs that show nothing: no action.
EMPTY_VERBS = words("""
    be have do get see show appear seem include contain feature depict fill make let become remain keep consist want
    need like love know think believe mean try start begin continue stop-by allow enable cause belong happen involve say
    tell ask find situate locate position place top line base name call title entitle use-to design style fashion shape
    size color colour stay look-like resemble represent portray consider plan decide intend prepare-to attempt exist
    provide attach compose accompany shall will would can could may might must should cannot dress clothe add own
    possess prefer hope wish expect suppose tend end match come engage go set put give take pertain relate pass-by side
    top-off arrange date state inspire suggest present compare concern enjoy
""")
# ... but these say something as a participle before a noun or a predicate: attribute "covered", "filled".
STATIVE_ATTRIBUTES = words("""
    covered decorated dressed stuffed painted frosted glazed baked fried grilled cooked sliced chopped broken cracked
    rusted abandoned crowded cluttered lit illuminated polished paved tiled carpeted fenced checkered striped spotted
    dotted colored coloured bearded uniformed costumed wooded flooded frozen melted wrapped packed stacked piled folded
    rolled torn ripped worn faded weathered aged restored opened closed shaded shadowed blurred blurry tattooed
    shirtless barefoot bald furnished unmade disheveled topless
""")

# Verb + particle that is an action of its own; any other particle is dropped.
PHRASAL = lines("""
    take off
    pick up
    put on
    blow out
    line up
    hang out
    show off
    dress up
    wake up
    work out
""")

# Verbs the tagger takes for nouns or adjectives in captions, by surface form → lemma, where a clause lacks a verb.
VERB_FORMS: dict[str, str] = {
    "skiing": "ski", "skis": "ski", "surfing": "surf", "surfs": "surf", "skateboarding": "skateboard",
    "skateboards": "skateboard", "snowboarding": "snowboard", "snowboards": "snowboard", "skating": "skate",
    "biking": "bike", "cycling": "cycle", "swimming": "swim", "fishing": "fish", "sailing": "sail", "boxing": "box",
    "bowling": "bowl", "camping": "camp", "climbing": "climb", "hiking": "hike", "jogging": "jog",
    "running": "run", "kayaking": "kayak", "parasailing": "parasail", "windsurfing": "windsurf",
    "kiteboarding": "kiteboard", "kitesurfing": "kitesurf", "wakeboarding": "wakeboard", "bullfighting": "bullfight",
    "yoga": "yoga", "wrestling": "wrestle", "dancing": "dance", "cooking": "cook", "shopping": "shop",
    "reading": "read", "rowing": "row", "canoeing": "canoe", "sledding": "sled", "eating": "eat", "riding": "ride",
    "sitting": "sit", "standing": "stand", "walking": "walk", "flying": "fly", "playing": "play", "laying": "lie",
    "lying": "lie", "sleeping": "sleep", "holding": "hold", "posing": "pose", "grazing": "graze", "jumping": "jump",
    "wearing": "wear", "looking": "look", "talking": "talk", "driving": "drive", "drinking": "drink",
    "smiling": "smile", "racing": "race", "hanging": "hang", "feeding": "feed", "perched": "perch",
    "parked": "park", "docked": "dock", "bathing": "bathe", "photographing": "photograph", "paragliding": "paraglide",
    "paddling": "paddle", "swinging": "swing", "sit": "sit", "sits": "sit", "siting": "sit", "waterskiing": "waterski",
    "bodyboarding": "bodyboard", "crossing": "cross", "hitting": "hit", "throwing": "throw", "catching": "catch",
    "pulling": "pull", "resting": "rest", "waiting": "wait", "leaning": "lean", "serving": "serve",
    "preforming": "perform", "preparing": "prepare", "celebrating": "celebrate", "petting": "pet", "batting": "bat",
    "travelling": "travel", "traveling": "travel", "carrying": "carry", "soaring": "soar", "skydiving": "skydive",
}  # fmt: skip

# Nouns the tagger takes for adjectives although dictionaries know the adjective.
NEVER_ADJECTIVES = words("locomotive kite tub hydrant goose geese")

# Nouns the tagger takes for verbs.
NEVER_VERBS = words("""
    skateboard surfboard snowboard umbrella frisbee broccoli giraffe zebra elephant laptop toilet refrigerator racquet
    racket couch desk bench vase tie ties waters scaffolding vest kite kitchen bathroom sandwich pizza donut
    doughnut bicycle motorcycle
""")

# Slips of writing in captions: word → what was meant. Only where the wrong word is no word or never a visible thing.
SPELLING: dict[str, str] = {
    "frisbe": "frisbee", "frisbie": "frisbee", "frizbee": "frisbee", "skiis": "skis", "skii": "ski", "skiier": "skier",
    "skiiers": "skiers", "skatebaord": "skateboard", "skateboad": "skateboard", "surfbaord": "surfboard",
    "umbrela": "umbrella", "umberella": "umbrella", "umbrellla": "umbrella", "sanwich": "sandwich",
    "sandwhich": "sandwich", "sandwiche": "sandwich", "doughnutt": "doughnut", "girafe": "giraffe",
    "giraffee": "giraffe", "giraff": "giraffe", "motercycle": "motorcycle", "motorcyle": "motorcycle",
    "motocycle": "motorcycle", "elephent": "elephant", "refridgerator": "refrigerator", "refigerator": "refrigerator",
    "refrigerater": "refrigerator", "buliding": "building", "bulding": "building", "buidling": "building",
    "baloon": "balloon", "wetsuid": "wetsuit", "litte": "little", "sillouette": "silhouette",
    "silouette": "silhouette", "sillhouette": "silhouette", "tye": "tie", "veiw": "view", "peice": "piece",
    "peices": "pieces", "poeple": "people", "peope": "people", "peopel": "people", "streat": "street",
    "tabel": "table", "brocolli": "broccoli", "brocoli": "broccoli", "broccolli": "broccoli", "bannana": "banana",
    "bannanas": "bananas", "tomatos": "tomatoes", "potatos": "potatoes", "whispy": "wispy", "barell": "barrel",
    "ontop": "on top", "infront": "in front", "alot": "a lot", "inbetween": "in between",
    "siting": "sitting", "sittng": "sitting", "sittin": "sitting", "standig": "standing", "standin": "standing",
    "stading": "standing", "waling": "walking", "waring": "wearing", "wering": "wearing", "ridding": "riding",
    "ridng": "riding", "hodling": "holding", "holdng": "holding", "holing": "holding", "playin": "playing",
    "palying": "playing", "flyng": "flying", "flyin": "flying", "preforming": "performing", "prefoming": "performing",
    "eatting": "eating", "swining": "swinging", "swiming": "swimming", "geting": "getting", "hiting": "hitting",
    "wating": "waiting", "runing": "running", "raquet": "racquet", "racquete": "racquet",
    "rackett": "racket", "tennnis": "tennis", "tenis": "tennis", "basball": "baseball", "basebal": "baseball",
    "baseaball": "baseball", "picther": "pitcher", "bycicle": "bicycle", "bycycle": "bicycle", "bicylce": "bicycle",
    "bycicles": "bicycles", "ligh": "light", "trafic": "traffic", "traffice": "traffic", "hydrent": "hydrant",
    "hydrand": "hydrant", "hidrant": "hydrant", "kithen": "kitchen", "kichen": "kitchen", "bathrom": "bathroom",
    "toliet": "toilet", "tolet": "toilet", "tiolet": "toilet", "mirrow": "mirror",
    "mans": "man's", "womans": "woman's", "persons": "person's", "childs": "child's",
    "ofa": "of a", "ona": "on a", "ina": "in a", "tha": "the", "teh": "the", "thre": "three", "fo": "of",
    "adn": "and", "nd": "and", "hte": "the", "wth": "with", "iwth": "with", "withe": "with",
    "vegtables": "vegetables", "vegatables": "vegetables", "vegetabels": "vegetables",
    "choclate": "chocolate", "choclolate": "chocolate", "plam": "palm", "beech": "beach", "feild": "field",
    "grassey": "grassy", "grasy": "grassy", "woden": "wooden", "woooden": "wooden",
    "beautifull": "beautiful", "beautful": "beautiful", "colorfull": "colorful", "yound": "young", "youg": "young",
    "yougn": "young", "smal": "small", "larg": "large", "lage": "large", "wite": "white", "withte": "white",
    "balck": "black", "blakc": "black", "broun": "brown", "gren": "green", "yelow": "yellow", "yello": "yellow",
    "oragne": "orange", "ornage": "orange", "multicolor": "multicolored", "snowbaord": "snowboard",
    "snowbord": "snowboard", "luggauge": "luggage", "lugage": "luggage", "suticase": "suitcase",
    "suitecase": "suitcase", "controler": "controller", "controllor": "controller", "contoller": "controller",
    "vechicle": "vehicle", "vehical": "vehicle", "rommantic": "romantic", "airplaine": "airplane", "fillled": "filled",
    "preson": "person", "perosn": "person", "womam": "woman", "wman": "woman",
    "graffitti": "graffiti", "grafitti": "graffiti",
    "remore": "remote", "cieling": "ceiling", "calander": "calendar", "tounge": "tongue", "knive": "knife",
    "knifes": "knives", "leafs": "leaves", "sheeps": "sheep", "deers": "deer", "furnitures": "furniture",
    "jpg": "", "jpeg": "", "png": "",
}  # fmt: skip

# Names of things: proper nouns kept as tags, by lower-case form.
KNOWN_NAMES = words("""
    wii frisbee nintendo xbox playstation ipod ipad iphone macbook kindle lego barbie polaroid jeep santa christmas
    halloween easter thanksgiving dalmatian labrador poodle chihuahua corgi beagle pug husky terrier suv tv dvd cd bmw
    vespa segway jacuzzi graffiti bbq atm jet-ski velcro asian american european african chinese japanese indian mexican
    italian french british thai german spanish victorian hawaiian persian siamese arabic korean
""")

# Number words: never a tag.
NUMBERS = words("""
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion dozen
    zero once twice first second third
""")

# Pronouns that are people.
PERSON_PRONOUNS = words("someone somebody anyone anybody everyone everybody")

# Compounds with a letter, opened to be parsed → as they are written.
HYPHENED = {"t shirt": "t-shirt", "x ray": "x-ray", "e mail": "email"}

# Plural-only nouns, kept as they are; singular use in captions is led here too.
PLURAL_ONLY: dict[str, str] = {
    "scissor": "scissors", "scissors": "scissors", "glasses": "glasses", "sunglass": "sunglasses",
    "sunglasses": "sunglasses", "eyeglasses": "eyeglasses", "pants": "pants", "pant": "pants", "jeans": "jeans",
    "jean": "jeans", "shorts": "shorts", "trousers": "trousers", "tights": "tights", "leggings": "leggings",
    "legging": "leggings", "clothes": "clothes", "clothe": "clothes", "goggles": "goggles", "goggle": "goggles",
    "pajamas": "pajamas", "pajama": "pajamas", "pyjamas": "pajamas", "headphones": "headphones",
    "headphone": "headphones", "binoculars": "binoculars", "binocular": "binoculars", "tongs": "tongs",
    "pliers": "pliers", "tweezers": "tweezers", "overalls": "overalls", "fries": "fries", "woods": "woods",
    "khakis": "khakis", "suspenders": "suspenders", "stairs": "stairs", "stair": "stairs",
    "blinds": "blinds", "outdoors": "outdoors", "indoors": "indoors", "bleachers": "bleachers",
    "bleacher": "bleachers", "antlers": "antlers", "antler": "antlers", "groceries": "groceries", "trunks": "trunks",
    "swimming trunk": "swimming trunks", "french fry": "french fries", "sprinkles": "sprinkles",
    "sprinkle": "sprinkles", "greens": "greens", "noodles": "noodles", "noodle": "noodles", "knickers": "knickers",
    "earphones": "earphones", "earbuds": "earbuds", "handcuffs": "handcuffs", "toiletries": "toiletries",
}  # fmt: skip

# Every word that a list here has: English, though dictionaries may lack it ("selfie", "smartphone").
LISTED = frozenset(
    word
    for names in list(globals().values())
    if isinstance(names, frozenset | dict)
    for name in names
    for word in name.split()
)
