"""A seeded generator of short children's stories.

Every story is built from a *shape* (a small plot with a beginning, a middle and
an end) whose sentences are written as templates:

    [one|two|three]   picks one alternative (alternatives may nest or be empty)
    {a} {a.he} {o.the} look up a character, an object or a place

so names, pronouns and articles always agree.  The same seed always gives the
same text.  Run `python stories.py 5` to print five stories.
"""
import random
import re
import sys

GIRLS = ("Lily Mia Anna Emma Sara Lucy Rosie Ella Nora Zoe Ruby Amy Molly Kate Jane Maya "
         "Sophie Daisy Grace Alice Hannah Clara Eva Ivy Leila Nina Tara Wendy Bella June").split()
BOYS = ("Tom Ben Max Sam Tim Jack Leo Oliver Noah Finn Adam Peter Luke Henry Oscar Theo "
        "Jake Billy Daniel Hugo Omar Ravi Toby Will Eric Felix George Ali Marco Simon").split()
PETS_M = "Rex Buddy Rocky Bruno Charlie Milo Teddy Spot Barney Rusty Otis Biscuit Pip Hopper Max Leo".split()
PETS_F = "Luna Coco Pepper Honey Poppy Willow Bonnie Pearl Ginger Hazel Olive Dot Misty Bella Daisy Ruby".split()

# noun: (size or look words, sound, food, home, covering, what it loves, young one)
ANIMALS = {
    "dog": ("little|brown|big|playful|small|friendly", "Woof", "a bone", "a cozy kennel", "fur", "to run in the yard", "puppy"),
    "puppy": ("little|tiny|playful|brown|spotted", "Yip", "a biscuit", "a soft basket", "fur", "to chase his tail", "puppy"),
    "cat": ("little|gray|fluffy|black|orange|sleepy", "Meow", "a bowl of milk", "a warm house", "fur", "to sleep in the sun", "kitten"),
    "kitten": ("little|tiny|white|fluffy|gray", "Mew", "a bowl of milk", "a soft basket", "fur", "to play with yarn", "kitten"),
    "rabbit": ("little|white|fast|shy|soft", "Squeak", "a carrot", "a burrow under the hill", "fur", "to hop in the grass", "bunny"),
    "bunny": ("little|white|fluffy|shy", "Squeak", "a carrot", "a burrow under a bush", "fur", "to hop in the grass", "bunny"),
    "mouse": ("little|tiny|gray|brave|quiet", "Squeak", "a piece of cheese", "a hole in the wall", "fur", "to explore at night", "mouse"),
    "bear": ("big|brown|gentle|hungry|young", "Grr", "a pot of honey", "a cave in the hills", "fur", "to sleep and eat", "cub"),
    "fox": ("red|clever|young|quick|little", "Yap", "a bowl of berries", "a den under a tree", "fur", "to explore the forest", "cub"),
    "squirrel": ("little|red|busy|quick", "Chirp", "a nut", "a hollow tree", "fur", "to climb trees", "squirrel"),
    "owl": ("old|wise|gray|young|little", "Hoot", "a bowl of berries", "a tall tree", "feathers", "to look at the moon", "owl"),
    "bird": ("little|blue|yellow|tiny|young", "Tweet", "a seed", "a nest in a tree", "feathers", "to sing in the morning", "chick"),
    "duck": ("little|yellow|white|young|cheerful", "Quack", "a piece of bread", "a quiet pond", "feathers", "to swim in the pond", "duckling"),
    "frog": ("green|little|jumpy|happy", "Ribbit", "a bowl of soup", "a quiet pond", "skin", "to jump over the rocks", "frog"),
    "turtle": ("slow|old|green|little|patient", "Hmm", "a green leaf", "a quiet pond", "a hard shell", "to walk in the sun", "turtle"),
    "horse": ("brown|strong|white|young|gentle", "Neigh", "an apple", "a red barn", "a long mane", "to run in the field", "foal"),
    "cow": ("brown|gentle|big|spotted", "Moo", "a pile of hay", "a red barn", "spots", "to eat the green grass", "calf"),
    "pig": ("pink|little|muddy|happy", "Oink", "an apple", "a farm", "a curly tail", "to roll in the mud", "piglet"),
    "hen": ("red|brown|busy|kind", "Cluck", "some corn", "a small farm", "feathers", "to walk around the yard", "chick"),
    "elephant": ("big|gray|young|gentle", "Toot", "a banana", "the wide green plain", "big ears", "to splash in the river", "elephant"),
    "lion": ("brave|young|strong|proud", "Roar", "a big dinner", "the wide green plain", "a golden mane", "to lie in the sun", "cub"),
    "monkey": ("funny|little|clever|playful", "Ooh ooh", "a banana", "the warm jungle", "a long tail", "to swing in the trees", "monkey"),
    "hedgehog": ("little|shy|small|sleepy", "Snuff", "an apple", "a pile of leaves", "spikes", "to walk in the garden", "hedgehog"),
    "wolf": ("gray|young|big|lonely", "Awoo", "a warm stew", "a cave in the hills", "fur", "to sing to the moon", "cub"),
    "penguin": ("little|funny|round|young", "Honk", "a small fish", "the snowy shore", "feathers", "to slide on the ice", "chick"),
    "goat": ("white|young|stubborn|merry", "Baa", "some fresh grass", "a farm on the hill", "fur", "to climb the rocks", "kid"),
    "robot": ("little|shiny|friendly|old|small", "Beep", "a drop of oil", "a small workshop", "a metal coat", "to count the stars", "robot"),
    "dragon": ("small|green|friendly|young|shy", "Whoosh", "a hot pie", "a cave on the mountain", "green scales", "to fly over the hills", "dragon"),
}
WOODLAND = "rabbit bunny mouse bear fox squirrel owl bird frog turtle hedgehog duck".split()

TOYS = {
    "ball": "red|blue|green|yellow|big|round|bouncy", "doll": "pretty|little|soft", "kite": "red|blue|bright|yellow",
    "teddy bear": "brown|soft|fluffy|old", "toy car": "red|blue|fast|small|shiny", "toy boat": "white|blue|small|wooden",
    "toy train": "red|green|wooden|shiny", "drum": "loud|red|little", "robot": "small|silver|shiny",
    "balloon": "red|blue|yellow|big", "book": "big|new|old|thick", "hat": "red|warm|funny|blue", "scarf": "blue|long|warm|red",
    "puzzle": "big|new|hard", "yo-yo": "shiny|red|green", "umbrella": "yellow|red|big|blue",
    "spinning top": "red|wooden|bright", "blanket": "soft|blue|warm|old", "whistle": "small|silver|loud",
    "shell": "pink|white|smooth|pretty", "bell": "small|golden|silver", "flute": "wooden|little|silver",
    "lantern": "small|bright|old", "backpack": "new|green|blue|red", "ring": "golden|shiny|small",
}
PLAY = {  # what one does with a toy
    "ball": "kicked the ball", "doll": "dressed the doll", "kite": "flew the kite", "teddy bear": "hugged the teddy bear",
    "toy car": "raced the toy car", "toy boat": "floated the toy boat in the pond", "toy train": "pushed the toy train",
    "drum": "played the drum", "robot": "made the robot walk", "balloon": "held the balloon", "book": "read the book",
    "puzzle": "worked on the puzzle", "yo-yo": "played with the yo-yo", "spinning top": "spun the spinning top",
}
PLACES = {  # name: (preposition form, things one sees there)
    "park": ("in the park", "tall trees and a wide green lawn"), "forest": ("in the forest", "old trees and soft moss"),
    "garden": ("in the garden", "red flowers and busy bees"), "beach": ("at the beach", "blue waves and warm sand"),
    "farm": ("on the farm", "cows, hens and a red barn"), "lake": ("by the lake", "clear water and little fish"),
    "hill": ("on the hill", "green grass and white clouds"), "river": ("by the river", "smooth stones and cool water"),
    "village": ("in the village", "small houses and a stone well"), "meadow": ("in the meadow", "wild flowers and butterflies"),
    "playground": ("at the playground", "a slide and two swings"), "market": ("at the market", "fresh fruit and warm bread"),
    "yard": ("in the yard", "a big tree and a wooden fence"), "town": ("in the town", "busy shops and tall houses"),
}
OUTDOOR = "park forest garden beach lake hill river meadow yard".split()
FOODS = ["apple pie", "bread", "soup", "pancakes", "cookies", "honey cake", "berries", "cheese", "rice", "noodles", "plums", "pears"]
CAKES = ["chocolate cake", "apple pie", "honey cake", "carrot cake", "lemon cake", "berry pie", "banana bread"]
COLORS = "red blue green yellow orange purple pink white brown golden".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
TREES = ["an oak tree", "an apple tree", "a pine tree", "a tall tree", "a willow tree"]
HIDE = ["under the bed", "behind the sofa", "in the closet", "in the kitchen", "behind the door", "under the table", "in the toy box", "on the shelf"]
HIDE_OUT = ["under a bush", "behind a rock", "near the old well", "in the tall grass", "behind the big tree", "next to the fence", "by the gate", "under the bench"]
ADULTS = [("mom", "f", 1), ("dad", "m", 1), ("grandma", "f", 1), ("grandpa", "m", 1)]
WORKERS = [("baker", "m"), ("farmer", "m"), ("teacher", "f"), ("doctor", "f"), ("fisherman", "m"), ("gardener", "m"),
           ("painter", "f"), ("shopkeeper", "m"), ("old woman", "f"), ("old man", "m"), ("queen", "f"), ("king", "m")]
WANTS_TREASURE = ["a golden coin", "a shiny stone", "a tiny silver key", "an old map", "a glass marble", "a blue feather", "a little music box"]


def an(phrase):
    return ("an " if phrase[0].lower() in "aeiou" and not phrase.startswith(("one", "uni")) else "a ") + phrase


class Who:
    """A character: `{a}` is the name, `{a.he}` and friends the pronouns."""

    def __init__(self, n, sex, full, noun, **kw):
        self.n, self.full, self.noun = n, full, noun
        self.he, self.him, self.his, self.himself = {
            "m": ("he", "him", "his", "himself"), "f": ("she", "her", "her", "herself"), "t": ("they", "them", "their", "themselves")}[sex]
        self.hisown = {"m": "his", "f": "hers", "t": "theirs"}[sex]
        self.sex = sex
        self.human = False
        self.topic = an(noun)
        self.__dict__.update(kw)

    def __str__(self):
        return self.n


class Thing:
    """An object: `{o}` noun, `{o.a}` "a red ball", `{o.the}` "the red ball", `{o.my}` "red ball"."""

    def __init__(self, noun, adj):
        self.noun, self.adj = noun, adj
        self.my = f"{adj} {noun}"
        self.a, self.the, self.a_n = an(self.my), "the " + self.my, an(noun)
        self.topic = self.a

    def __str__(self):
        return self.noun


class Place:
    def __init__(self, noun):
        self.noun = noun
        self.at, self.sees = PLACES[noun]
        self.the = "the " + noun

    def __str__(self):
        return self.noun


class World:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.used = set()
        self.topics = []
        self.shape = ""

    # ---- picking -------------------------------------------------------
    def pick(self, xs):
        return self.r.choice(list(xs))

    def two(self, xs, k=2):
        return self.r.sample(list(xs), k)

    def name(self, names):
        n = self.pick([x for x in names if x not in self.used])
        self.used.add(n)
        return n

    def child(self, topic=True):
        sex = self.pick("mf")
        n = self.name(GIRLS if sex == "f" else BOYS)
        noun = "girl" if sex == "f" else "boy"
        adj = self.pick(["little", "little", "young", "small", "kind", "brave", "happy", "quiet", "curious", "clever"])
        c = Who(n, sex, f"{an(adj)} {noun} named {n}", noun, human=True, adj=adj, home="a small house", called=f"{adj} {noun}",
                food=self.pick(["an apple", "a warm bun", "a bowl of soup", "a cookie"]), loves=self.pick(
                    ["to play outside", "to draw pictures", "to read books", "to sing songs", "to build things", "to run and jump", "to look at the stars", "to dance"]))
        if topic:
            self.topics.append(self.pick([n, f"{an(noun)} named {n}", an(noun)]))
        return c

    def animal(self, among=None, named=None, topic=True):
        kinds = [k for k in (among or ANIMALS) if k not in self.used]
        k = self.pick(kinds)
        self.used.add(k)
        adjs, sound, food, home, skin, loves, young = ANIMALS[k]
        adj = self.pick(adjs.split("|"))
        sex = self.pick("mf")
        named = self.r.random() < 0.55 if named is None else named
        if named:
            n = self.name(PETS_F if sex == "f" else PETS_M)
            full = f"{an(adj)} {k} named {n}"
        else:
            n = self.pick([f"the {k}", f"the {adj} {k}", f"the {k}"])
            full = f"{an(adj)} {k}"
        if sex == "f":
            loves = loves.replace("his", "her")
        c = Who(n, sex, full, k, sound=sound, food=food, home=home, skin=skin, loves=loves, adj=adj, named=named, called=f"{adj} {k}")
        if topic:
            self.topics.append(self.pick([an(k), an(f"{adj} {k}"), an(k) + (f" named {n}" if named else "")]))
        return c

    def hero(self):
        return self.child() if self.r.random() < 0.55 else self.animal()

    def friend_of(self, a, topic=True):
        """A second character of the same kind of world."""
        return self.child(topic) if a.human else self.animal(WOODLAND if a.noun in WOODLAND else None, topic=topic)

    def adult(self, a=None):
        noun, sex, _ = self.pick(ADULTS)
        if a is None:
            return Who(noun, sex, noun, noun)
        n = f"{a.his} {noun}"
        return Who(n, sex, n, noun, call=noun.capitalize())

    def toy(self, among=None):
        k = self.pick([x for x in (among or TOYS) if x not in self.used])
        self.used.add(k)
        t = Thing(k, self.pick(TOYS[k].split("|")))
        self.topics.append(self.pick([t.a, t.a_n, t.a]))
        return t

    def place(self, among=None):
        return Place(self.pick(among or PLACES))

    # ---- telling -------------------------------------------------------
    def fill(self, text, **kw):
        pat = re.compile(r"\[([^\[\]]*)\]")
        while True:
            m = pat.search(text)
            if not m:
                break
            text = text[:m.start()] + self.pick(m.group(1).split("|")) + text[m.end():]
        return text.format(**kw)

    def tell(self, *paras, **kw):
        a = kw.get("a")
        out = []
        for p in paras:
            out.append(tidy(self.fill(p, **kw)))
        if a is not None and self.r.random() < 0.22:
            out[-1] += " " + tidy(self.fill(self.pick(ENDS), **kw))
        if self.r.random() < 0.14:
            out[-1] += " The end."
        if a is not None and self.r.random() < 0.12 and out[0].startswith((a.n, a.n.capitalize())):  # set the scene first
            out[0] = tidy(self.fill(self.pick(SCENES))) + " " + tidy(out[0])
        text = "\0".join(x for x in out if x)
        for c in kw.values():  # say what kind of animal a name belongs to
            if isinstance(c, Who) and not c.human and getattr(c, "named", False) and not re.search(rf"\b{c.noun}\b", text):
                text = re.sub(rf"\b{c.n}\b(?!'s)", f"{c.n} the {c.noun}", text, count=1)
        sep = "\n\n" if self.r.random() < 0.6 else " "
        return text.replace("\0", sep)


SCENES = ["It was a [quiet|bright|fine|cool|gray|beautiful] [morning|day|afternoon].", "The sun was [shining|just coming up].", "It was {day}.".replace("{day}", "[" + "|".join(DAYS) + "]"),
          "It was [early in the morning|late in the afternoon].", "The [birds were singing|wind was blowing|sky was gray|flowers were open].", "It was [the first day of|a day in] [spring|summer|autumn|winter]."]
ENDS = ["[That night|Later that day], {a} fell asleep with a smile.", "{a} never forgot that day.",
        "It was a very good day.", "{a} was very happy.", "It was the best day of the [week|year|month].",
        "{a} could not wait for the next day.", "And {a} smiled all the way home."]


def tidy(s):
    s = re.sub(r" +", " ", s).strip()
    s = re.sub(r" ([.,!?])", r"\1", s)
    s = re.sub(r"\^\s*(\w)", lambda m: m.group(1).upper(), s)
    up = lambda m: m.group(1) + m.group(2).upper()
    s = re.sub(r"(^|[.!?] |\.\" )([a-z])", up, s)
    s = re.sub(r"((?:^|[ \n])\")([a-z])", up, s)
    return s


def weather(w):
    return w.fill(w.pick([
        "The sun was [warm and bright|shining|high in the sky].", "The sky was [blue|clear and blue|full of white clouds].",
        "A [soft|cool|gentle] wind was blowing.", "The birds were singing [in the trees|a happy song].",
        "It was a [cold|warm|quiet|bright] [spring|summer|autumn|winter] [morning|day].",
        "It had rained all night, and the [grass|ground] was still wet.", "The leaves were [red and yellow|green and fresh].",
        "The air smelled of [flowers|fresh bread|rain|warm grass].", "", "", ""]))


def when(w):
    return w.fill(w.pick([
        "One day", "One day", "One morning", "One [sunny|rainy|cold|warm|windy|cloudy|quiet] [day|morning|afternoon]", "One evening, when the day was almost over" if w.r.random() < 0.1 else "One morning",
        "One [spring|summer|autumn|winter] [day|morning]", "On " + w.pick(DAYS), "On a [sunny|bright|cold|windy] " + w.pick(DAYS),
        "Early one morning", "One afternoon"]))


def intro(w, a, place=None):
    """One or two sentences that bring the hero in."""
    pl = (" " + place.at) if place else ""
    place_ = place or w.place()
    lived = w.pick([a.home if not a.human else None, None])
    opts = [
        "Once upon a time, there was {a.full}. {love}", "Once upon a time, there was {a.full}" + pl + ". {love}",
        "Once upon a time, {a.full} lived in {home}. {love}", "Once upon a time, in a [small|quiet|far away|little] [village|town|land], there lived {a.full}. {love}",
        "There was once {a.full}. {love}", "There was {a.full}. {love}", "There once was {a.full} who loved {a.loves}.",
        "In a small village, there lived {a.full}. {love}", "In [a quiet|a little|an old] town, there lived {a.full}. {love}",
        "Long ago, there lived {a.full}. {love}", "{a.full} lived in {home}. {love}",
        "Once there was {a.full}. {love}", "This is the story of {a.full}. {love}", "A long time ago, {a.full} lived in {home}. {love}"]
    if a.human:
        opts += ["{a} was {kind} who loved {a.loves}.", "{a} was {kind} who loved {a.loves}.", "{a} was {kind}. {love}",
                 "{a} was {age} years old. {love}", "{a} lived with {a.his} [mom and dad|family|grandma|mom] in {home}. {love}"]
    elif a.named:
        opts += ["{a} was {kind} who loved {a.loves}.", "{a} was {kind} who lived in {home}. {love}", "{a} the {a.noun} lived in {home}. {love}"]
    if not a.human:
        opts += ["Deep in the [dark |green |quiet |old |]forest, there lived {a.full}. {love}" if a.noun in WOODLAND else "In {home}, there lived {a.full}. {love}",
                 "In the [dark|green|quiet|old|deep] forest, {a.full} lived in {home}. {love}" if a.noun in WOODLAND + ["dragon"] else "Near the village, {a.full} lived in {home}. {love}",
                 "{a.full} lived in {home}. {a.he} had [soft|shiny|lovely] {a.skin}. " if a.skin in ("fur", "feathers") else "{a.full} lived in {home}."]
    love = w.fill(w.pick(["{a.he} loved {a.loves}.", "{a.he} liked {a.loves}.", "Every day, {a.he} liked {a.loves}.", "", "",
                          "{a.he} was very [kind|friendly|curious].", "Everyone liked {a.him}." if a.human or a.named else ""]), a=a)
    kind = an(a.called)
    home = a.home if not a.human else w.pick(["a small house", "a little white house", "a house near the " + w.pick(["park", "forest", "river", "lake", "hill"]), "a yellow house on the hill"])
    return tidy(w.fill(w.pick(opts), a=a, love=love, kind=kind, home=home, age=w.pick(["four", "five", "six", "seven"]))) + " "


# ---------------------------------------------------------------- shapes
SHAPES = []


def shape(weight=1):
    def deco(f):
        SHAPES.append((f, weight))
        return f
    return deco


@shape(2)
def lost_toy(w):
    a, o, m = w.hero(), w.toy(), None
    h = w.adult(a) if a.human else w.friend_of(a)
    p1, p2, p3 = w.two(HIDE if a.human else HIDE_OUT, 3)
    first = w.pick([
        intro(w, a) + "{a.he} had {o.a}. " + when(w) + ", {a} could not find {o.the}.",
        "{a} was sad because {a.he} had lost {a.his} {o.my}. {a.he} loved {o.the} very much.",
        "{a} had {o.a}. It was {a.his} favorite thing in the [whole |]world. " + when(w) + ", {o.the} was gone.",
        when(w) + ", {a} woke up and looked for {a.his} {o.my}. It was not there.",
        "\"Where is my {o}?\" asked {a}. {a.he} had lost {a.his} {o.my}, and {a.he} was [very |]sad."])
    return w.tell(first,
        "{a} looked {p1}. The {o} was not there. {a.he} looked {p2}. It was not there [either|]. [{a.he} began to cry.|{a} felt [sad|very sad|worried].|A tear fell down {a.his} cheek.]",
        "{h} [saw {a.him}|came in|heard {a.him}] and asked, \"[Why are you sad|What is wrong|Why are you crying], {call}?\" \"I lost my {o},\" said {a}. \"[Do not worry|Don't worry|Do not cry],\" said {h}. \"[I will help you|We will look together|Let us look for it together].\"",
        "They looked [and looked|everywhere|all over]. [At last|Then|Finally], {h} looked {p3}. \"[Look|Here it is|I see it]!\" {h} said. There was the {o}! {a} [hugged {h}|jumped with joy|smiled a big smile]. \"Thank you!\" {a.he} said. [From that day on, {a} always put the {o} in a safe place.|After that, {a} took good care of the {o}.|{a} held the {o} tight and did not lose it again.]",
        a=a, o=o, h=h, p1=p1, p2=p2, p3=p3, call=a.n if a.human or a.named else "little friend" if a.adj != "old" else "my friend")


@shape(2)
def share(w):
    a = w.hero(); b = w.friend_of(a); o = w.toy(PLAY); p = w.place(OUTDOOR)
    first = w.pick([
        intro(w, a) + when(w) + ", {a} took {a.his} {o.my} to {p.the}.",
        when(w) + ", {a} went to {p.the} with {o.a}. " + weather(w),
        "{a} got {o.a} for {a.his} birthday. {a.he} took it to {p.the} to play.",
        "{a} and {b} were best friends. " + when(w) + ", they met {p.at}. {a} had {o.a}."])
    return w.tell(first + " {a.he} {play} and [laughed|was happy|had fun].",
        "Then {b} came. \"[Can|May] I play with your {o}[, please|]?\" asked {b}. \"No! It is mine,\" said {a}. {b} [was sad|felt sad|looked down] and [sat alone|walked away|sat under a tree].",
        "{a} played [alone|by {a.himself}]. But soon it was not fun [anymore|to play alone]. {a} looked at {b} and felt [bad|sorry]. {a.he} [walked|ran] to {b} and said, \"I am sorry. [Let us|We can] play together.\"",
        "{b} smiled. {a} and {b} played with the {o} [all day|until the sun went down|all afternoon]. [They laughed and had a lot of fun.|They took turns, and it was much more fun.] {a} [learned|now knew] that [sharing is fun|it is good to share|toys are more fun with a friend].",
        a=a, b=b, o=o, p=p, play=PLAY[o.noun])


@shape(2)
def hurt_animal(w):
    a = w.child(); b = w.animal(["bird", "kitten", "puppy", "rabbit", "squirrel", "hedgehog", "duck"], named=False); h = w.adult(a); p = w.place(OUTDOOR)
    part = "wing" if b.noun in ("bird", "duck") else w.pick(["leg", "paw"])
    b.n = "the " + b.noun
    first = w.pick([intro(w, a) + when(w) + ", {a} was walking {p.at}.", when(w) + ", {a} was playing {p.at}. " + weather(w),
                    when(w) + ", {a} heard a small sound {p.at}. It sounded like someone crying.", "{a} and {h} went for a walk {p.at}. " + weather(w)])
    return w.tell(first, "[Suddenly|Then], {a.he} saw {b.full} [on the ground|under a bush|in the grass]. {b} had a hurt {part} and could not [move|get up|go home]. \"[Oh no|Poor little thing|You poor thing]!\" said {a}. \"[I will help you|Do not be afraid|I will take care of you].\"",
        "{a} [picked up {b}|took {b} in {a.his} hands] very [gently|carefully] and carried {b.him} home. {h} [put a small bandage on|washed and wrapped] {b.his} {part}. {a} made a bed [from a soft towel|in a little box] and gave {b.him} [water and food|{b.food}|some warm milk].",
        "Every day, {a} took care of {b}. [Soon|After a week|After a few days], {b.his} {part} was [well|strong] again. {a} carried {b.him} back to {p.the}. {a} was [a little sad|sad] to say goodbye, but {a.he} was glad that {b} was [well|free|healthy]. [The next day|From then on|Every morning after that], {b} came to {a}'s window [to say hello|and said, \"{b.sound}\"].",
        a=a, b=b, h=h, p=p, part=part)


@shape()
def bake(w):
    a = w.hero(); h = w.adult(a) if a.human else w.friend_of(a); b = w.friend_of(a, topic=False); cake = w.pick(CAKES)
    w.topics.append(an(cake) if cake != "banana bread" else "baking")
    x1, x2 = w.two(["flour", "eggs", "sugar", "butter", "milk"])
    first = w.pick([intro(w, a) + "It was {b}'s birthday, and {a} wanted to make {b.him} {acake}.", "{a} wanted to bake {acake} for {b}. It was {b}'s birthday.",
                    "Tomorrow was {b}'s birthday. {a} wanted to give {b.him} something special. \"I will make {acake},\" {a.he} said."])
    return w.tell(first, "{a} asked {h} for help. [They went to the kitchen.|\"Of course,\" said {h}.] They mixed {x1} and {x2} in a big bowl. [{a} got flour on {a.his} nose, and they laughed.|{a} stirred and stirred until {a.his} arm was tired.|Some {x1} fell on the floor, but they cleaned it up.] Then they put the {c} in the [hot |]oven and waited.",
        "[Soon|After a while], the [house|kitchen] smelled [sweet|wonderful|very good]. The {c} was ready! {a} put [berries|a candle|a flower|nuts] on top. It looked [beautiful|very nice].",
        "When {b} [came|arrived], {a} said, \"Happy birthday!\" {b} saw the {c} and [smiled|clapped|jumped with joy]. \"[Did you make this for me|Is this for me]?\" {b} asked. \"Yes,\" said {a}, \"because you are my friend.\" They [all |]ate the {c} together. It was [delicious|sweet and soft|the best {c} ever]. {b} said it was the best birthday [ever|of all].",
        a=a, b=b, h=h, acake=an(cake) if not cake.endswith("bread") else cake, c=cake if not cake.endswith("bread") else "bread", x1=x1, x2=x2)


@shape()
def afraid(w):
    a = w.hero(); h = w.adult(a) if a.human else w.friend_of(a)
    what, event, truth, fix = w.pick([
        ("the dark", "the lamp went out and the room was very dark", "The dark is only the world closing its eyes to sleep", "looked up and saw [the moon|many small stars]"),
        ("storms", "there was a big storm, and the thunder went boom", "Thunder is only a loud sound, and it cannot hurt you here", "counted the seconds between the flash and the boom"),
        ("deep water", "everyone went to the lake to swim", "We will go slowly, one step at a time", "put one foot in the water, then the other"),
        ("high places", "everyone climbed the tall hill", "Do not look down, just look at the next step", "took one small step, and then another"),
        ("shadows", "a big black shadow moved on the wall", "A shadow is only a place where the light cannot go", "waved a hand, and the shadow waved back")])
    w.topics.append(f"being afraid of {what}")
    first = w.pick([intro(w, a) + "But {a.he} was afraid of {what}.", "{a} was afraid of {what}.", "{a} was scared because {event}. {a.he} was afraid of {what}."])
    ev = "" if "because" in first else when(w) + ", {event}. "
    return w.tell(first, ev + "{a} [hid under the blanket|held {h}'s hand|began to shake]. \"I am [scared|afraid],\" {a.he} said." if a.human else ev + "{a} [closed {a.his} eyes|began to shake|wanted to hide]. \"I am [scared|afraid],\" {a.he} said.",
        "{h} [sat down next to {a}|came close|smiled kindly]. \"[It is okay to be afraid|Everyone is afraid sometimes|I was afraid too when I was little],\" said {h}. \"{truth}. I am here with you.\"",
        "{a} took a deep breath. {a.he} " + fix + ". [It was not so bad.|{a.his} heart was not beating so fast anymore.|\"It is not so scary,\" {a.he} said.] {a} felt brave. [After that, {a} was not afraid of {what} anymore.|From that day on, {a.he} was a little braver every day.|\"I did it!\" {a.he} said, and {h} was proud of {a.him}.]",
        a=a, h=h, what=what, event=event, truth=truth)


@shape(2)
def learn(w):
    a = w.hero(); b = w.friend_of(a)
    skills = [("ride a bike", "got on the bike, but {a.he} fell off", "rode all the way down the street"), ("swim", "jumped into the water, but {a.he} could not stay up", "swam across the pond"),
              ("sing", "opened {a.his} mouth, but only a funny squeak came out", "sang a beautiful song"), ("paint", "painted a house, but it looked like a potato", "painted a lovely picture of the sea"),
              ("dance", "spun around and fell on the floor", "danced like a leaf in the wind"), ("climb the big tree", "climbed up a little and slid back down", "climbed all the way to the top"),
              ("play the drum", "hit the drum, but it was only noise", "played a happy song on the drum"), ("skate", "took one step on the ice and fell down", "skated in a big circle"),
              ("jump over the stream", "jumped and fell into the water with a splash", "jumped right over the stream")]
    if a.noun in ("bird", "owl", "dragon", "duck"):
        skills = [("fly", "flapped {a.his} wings, but {a.he} fell into the grass", "flew high into the blue sky")] * 6 + skills[1:3]
    sk, fail, win = w.pick(skills)
    w.topics.append(f"learning to {sk}")
    first = w.pick([intro(w, a) + "{a.he} wanted to learn to {sk}.", "{a} wanted to {sk}. All {a.his} friends could do it, but {a} could not.", "{a} wanted to learn how to {sk}.",
                    "{a} was sad because {a.he} could not {sk}. {a.his} friends could do it, and {a.he} felt left out."])
    return w.tell(first, when(w) + ", {a} tried. {a.he} " + fail + ". \"[I cannot do it|It is too hard|I will never learn],\" {a.he} said. [{a} felt sad.|{a} wanted to give up.|A tear came to {a.his} eye.]",
        "{b} saw {a.him} and said, \"[Do not give up|Try again|You can do it]. [I fell many times too|Nobody can do it the first time|It takes time to learn]. I will help you.\" So {a} tried again [and again|the next day]. [Every day|Each time], {a.he} got a little better.",
        "[At last|Then one day|One morning], {a} [tried once more|took a deep breath] and {win}! \"I did it! I did it!\" {a.he} [cried|shouted]. {b} clapped and cheered. {a} was [so |very ]proud. {a.he} had learned that [it is important to keep trying|practice makes you better|you should never give up].",
        a=a, b=b, sk=sk, win=w.fill(win, a=a))


@shape()
def broke(w):
    a = w.child(); h = w.adult(a); thing = w.pick(["vase", "cup", "plate", "window", "lamp", "mirror", "jar"]); col = w.pick(COLORS)
    if thing == "window": col = "kitchen"
    w.topics.append(f"a broken {thing}"); w.topics.append("telling the truth")
    first = w.pick([intro(w, a) + when(w) + ", {a} was playing with a ball inside the house.", when(w) + ", {a} was running in the house. \"Do not run inside,\" said {h}. But {a} did not listen.",
                    "{a} was playing ball in the living room. {a.he} threw the ball too high."])
    return w.tell(first, "[Crash|Bang]! {a} had [hit|knocked into] the {col} {t}, and it broke. {a.he} was [scared|afraid|worried]. {a.he} [thought, \"{h2} will be angry.\"|wanted to hide.|did not know what to do.] {a.he} [hid the pieces under the rug|ran to {a.his} room and closed the door].",
        "Soon {h} came and [saw what had happened|saw the broken {t}]. \"Who broke the {t}?\" asked {h}. {a} [looked at the floor|felt a lump in {a.his} throat]. {a.he} [wanted to say that it was the cat|could say that it was the wind], but that was not true. \"It was me,\" {a.he} said [quietly|in a small voice]. \"I am sorry.\"",
        "{h} [was quiet for a moment|sat down next to {a.him}]. \"Thank you for telling the truth,\" {h.he} said. \"[A {t} can be fixed|We can get a new {t}], but telling the truth is [more important|what matters].\" They [cleaned up|picked up the pieces] together. {a} felt [much |]better. After that, {a} only played ball [outside|in the yard].",
        a=a, h=h, t=thing, col=col, h2=h.call)


@shape(2)
def new_friend(w):
    a = w.hero(); b = w.friend_of(a); p = w.place(["park", "playground", "forest", "village", "beach", "meadow"] if a.human else OUTDOOR)
    game = w.pick(["played hide and seek", "built a tower of stones", "ran races", "told each other funny stories", "looked for pretty stones", "made a crown of flowers"])
    first = w.pick([intro(w, a) + "But {a} was [lonely|alone]. {a.he} had no one to play with.", "{a} was sad because {a.he} had no friends.", "{a} was new {p.at}. {a.he} did not know anyone, and {a.he} felt [lonely|shy].",
                    "{a} wanted a friend. {a.he} looked for one every day."])
    return w.tell(first, when(w) + ", {a} went to {p.the}. There {a.he} saw {b.full}. {b} was [sitting alone|playing alone|looking at a flower]. {a} wanted to say hello, but {a.he} was [shy|too shy].",
        "[{a} took a deep breath.|{a} thought for a while.|{a} took one small step, and then another.] \"Hello,\" {a.he} said. \"My name is {nm}. [Do you want to play|Can we play together|Will you play with me]?\" ^{b} [looked up and smiled|smiled]. \"Yes! I was hoping someone would ask me,\" said {b}." if a.human or a.named else
        "[{a} took a deep breath.|{a} thought for a while.] \"Hello,\" {a.he} said. \"[Do you want to play|Can we play together|Will you play with me]?\" ^{b} [looked up and smiled|smiled]. \"Yes! I was hoping someone would ask me,\" said {b}.",
        "They {game} [all day|until it was dark|all afternoon]. [They shared {a.food} and laughed.|They laughed until their bellies hurt.] When it was time to go home, {b} said, \"[See you tomorrow|Will you come again tomorrow]?\" \"Yes!\" said {a}. {a} [was not lonely anymore|had a friend now|went home with a happy heart]. [From that day on, they were best friends.|They met {p.at} every day.]",
        a=a, b=b, p=p, nm=a.n, game=game)


@shape(2)
def hungry(w):
    a = w.animal(); b = w.animal(WOODLAND if a.noun in WOODLAND else None)
    p = w.place(["forest", "farm", "meadow", "village", "garden", "river"])
    first = w.pick([intro(w, a) + when(w) + ", {a} was very hungry.", "{a} was hungry. {a.he} wanted {a.food}.", "{a} wanted {a.food}. {a.he} had not eaten all day, and {a.his} belly was empty.",
                    when(w) + ", {a} woke up and {a.his} belly went grumble. {a.he} wanted {a.food}."])
    return w.tell(first, "{a} looked for food [{p.at}|everywhere]. {a.he} looked [under the leaves|behind a rock|near the path], but there was nothing [to eat|there]. {a.he} walked and walked. [{a.his} feet were tired.|The sun was getting low.] \"I am so hungry,\" {a.he} said.",
        "Then {a} met {b.full}. {b} had {b.food}. \"Why do you look so sad?\" asked {b}. \"I have not found anything to eat,\" said {a}. {b} [thought for a moment|smiled]. \"[I have enough for two|You can have half of mine|Then let us share],\" {b.he} said." if b.food != a.food else
        "Then {a} met {b.full}. {b} had a big basket of food. \"Why do you look so sad?\" asked {b}. \"I have not found anything to eat,\" said {a}. {b} smiled. \"[I have enough for two|Then let us share],\" {b.he} said.",
        "They sat down [in the shade|under a tree|on a warm rock] and ate together. It [was|tasted] very good. \"Thank you,\" said {a}. \"You are very kind.\" [The next day|A few days later], {a} found {a.food} and [brought half of it to|shared it with] {b}. [They were friends from then on.|That is what friends do.|Now they were good friends.]",
        a=a, b=b, p=p)


@shape(2)
def lost_way(w):
    a = w.hero(); b = w.animal(["owl", "fox", "rabbit", "squirrel", "turtle", "bird", "mouse", "hedgehog"], named=None)
    thing = w.pick(["a blue butterfly", "a pretty bird", "some berries", "a small red flower", "a yellow leaf in the wind"])
    w.topics.append("getting lost in the forest")
    first = w.pick([intro(w, a) + when(w) + ", {a} went into the forest.", when(w) + ", {a} went for a walk in the forest. " + weather(w), "{a} was lost in the [dark|big|deep] forest. {a.he} had followed {thing} and left the path.",
                    "In the [dark|deep] forest, {a} was all alone. {a.he} had followed {thing} too far."])
    mid = "" if "followed" in first else "{a.he} saw {thing} and followed it. {a.he} went [deeper and deeper|farther and farther]. When {a.he} looked back, the path was gone. "
    return w.tell(first, mid + "\"Where am I?\" said {a}. [It was getting dark.|The trees were tall and dark.|The wind made a strange sound.] {a} was [afraid|scared] and began to cry.",
        "[Just then|Then], {b.full} [came out from behind a tree|looked down from a branch|came along the path]. \"{b.sound}! Why are you crying?\" asked {b}. \"I am lost,\" said {a}. \"I want to go home.\" \"[Do not worry|Do not be afraid],\" said {b}. \"I know [every tree in|all the paths of] this forest. Follow me.\"" if b.noun in ("owl", "bird", "squirrel") else
        "[Just then|Then], {b.full} [came out from behind a tree|came along the path]. \"Why are you crying?\" asked {b}. \"I am lost,\" said {a}. \"I want to go home.\" \"[Do not worry|Do not be afraid],\" said {b}. \"I know [every tree in|all the paths of] this forest. Follow me.\"",
        "{a} followed {b} [over a little bridge|past a big rock|along a stream] and [under the tall trees|around a pond]. Soon {a.he} saw [the light of {a.his} home|a light in the window|the path]. \"[Thank you|Thank you so much], {b2}!\" said {a}. {a} ran home and [hugged {a.his} mom|told everyone about {b}|ate a warm dinner]. [{a} never left the path again.|After that, {a} always stayed on the path.|The next day, {a} brought {b} {b.food} to say thank you.]",
        a=a, b=b, thing=thing, b2=b.n if b.named else f"{b.noun}")


@shape()
def seed(w):
    a = w.hero(); h = w.adult(a) if a.human else w.friend_of(a)
    plant, res = w.pick([("sunflower", "a big yellow sunflower"), ("tomato plant", "three red tomatoes"), ("pumpkin", "a huge orange pumpkin"), ("apple tree", "a tiny apple tree"), ("bean", "a tall green bean plant"), ("rose", "a beautiful red rose"), ("carrot", "a row of sweet carrots")])
    w.topics += ["a seed", "a garden"]
    first = w.pick([intro(w, a) + when(w) + ", {a} found a [small|tiny|little] seed.", when(w) + ", {h} gave {a} a [small|tiny|little] seed.", "{a} had a [small|tiny|little] seed. {a.he} wanted to know what it would become."])
    return w.tell(first, "{a} [dug|made] a little hole in the garden and put the seed in it. {a.he} gave it water [every day|every morning]. {a.he} waited and waited. But nothing [happened|came up]. \"[Maybe it is a bad seed|Why does it not grow],\" said {a} sadly.".replace("[Maybe it is a bad seed|Why does it not grow],", "[Maybe it is a bad seed,|Why does it not grow?]"),
        "\"[Be patient|Give it time|Good things take time],\" said {h}. \"[A seed needs water, sun and time|It is working hard under the ground].\" So {a} kept giving it water. [The sun was warm.|The rain fell, and the sun came out.|Days went by.]",
        "One morning, {a} saw a tiny green leaf! \"[Look|Come and see]!\" {a.he} cried. The little plant grew [taller and taller|bigger every day]. [By the end of summer|Before long|After many weeks], there was {res}. {a} was [so proud|very happy]. {a.he} [showed it to everyone|shared it with {h}|danced around it]. {h} said, \"You see? You were patient, and you took good care of it.\"",
        a=a, h=h, plant=plant, res=res)


@shape()
def treasure(w):
    a = w.hero(); b = w.friend_of(a); p = w.place(["forest", "beach", "garden", "hill", "river"]); t = w.pick(["a box full of old toys", "a bag of golden coins", "a letter from long ago", "a beautiful shiny necklace", "a basket of sweet apples"])
    w.topics += ["a treasure", "a map"]
    first = w.pick([intro(w, a) + when(w) + ", {a} found an old map.", when(w) + ", {a} and {b} found an old map [in a bottle|under a rock|in a box].", "{a} wanted to find a treasure. {a.he} had an old map from {a.his} grandpa."])
    return w.tell(first, "\"Look, {b2}!\" said {a}. \"[This map shows a treasure|There is a treasure] {p.at}!\" \"Let us find it!\" said {b}. [They took a lantern and some bread.|They packed some food and water.|They were very excited.]",
        "They went to {p.the}. First, they walked [around a big rock|past an old tree]. Then they [crossed a small bridge|climbed over a log]. At last, they came to [a tall tree|a pile of stones] with a red X. They [dug and dug|began to dig]. [Thump|Clunk]! There was something [hard|in the ground].",
        "It was an old [wooden |]box. {a} opened it slowly. Inside was {t}! [\"Wow!\" said {b}.|They could not believe their eyes.] They [took it home and showed everyone|shared it with all their friends]. \"[The best part was finding it with you|It was fun because we did it together],\" said {a}, and {b} smiled.",
        a=a, b=b, p=p, t=t, b2=b.n if (b.human or b.named) else "my friend")


@shape()
def rainy(w):
    a = w.child(); h = w.adult(a); b = w.friend_of(a)
    idea, make, end = w.pick([("build a fort", "took blankets and chairs and built a big fort", "sat inside the fort and told stories"), ("put on a show", "made hats from paper and put on a funny show", "sang a song, and everyone clapped"),
                          ("make paper boats", "folded paper into little boats", "let the boats float in the big puddles"), ("paint pictures", "took out the paints and made pictures of the sun", "put the pictures on the wall, and the room was bright"), ("bake cookies", "mixed flour, butter and sugar and made cookies", "ate the warm cookies with milk")])
    w.topics.append("a rainy day")
    first = w.pick([intro(w, a) + when(w) + ", {a} wanted to play outside. But it was raining.", "It was raining. {a} looked out of the window and was sad. {a.he} wanted to go outside.", "{a} was sad because it was raining and {a.he} could not go outside."])
    return w.tell(first, "\"[I am bored|There is nothing to do],\" said {a}. {h} [thought for a moment|smiled]. \"I have an idea,\" said {h}. \"[Let us|We can] {idea}!\"",
        "{a} called {b}, and {b} came over in a [yellow|red|blue] raincoat. They all {make}. [They laughed a lot.|It was a big mess, but it was fun.] Drip, drop went the rain, but nobody [minded|was sad] now.",
        "Then they {end}. [Soon the rain stopped, and there was a rainbow in the sky.|\"I hope it rains tomorrow too,\" said {a}.|When the sun came out, {a} did not even see it.] {a} had learned that [a rainy day can be fun too|you can have fun in any weather].",
        a=a, b=b, h=h, idea=idea, make=make, end=end)


@shape()
def snow(w):
    a = w.child(); b = w.friend_of(a); h = w.adult(a)
    nose = w.pick(["a carrot", "an orange", "a small stick"])
    w.topics += ["a snowman", "the snow"]
    first = w.pick([intro(w, a) + "One winter morning, {a} looked out of the window. Everything was white.", "It was winter. {a} woke up and saw snow everywhere.", "{a} loved the snow. One cold morning, it was snowing at last."])
    return w.tell(first, "{a} put on {a.his} [warm |]coat, hat and boots and ran outside. {b} was there too. \"Let us make a snowman!\" said {b}. They rolled [a big ball of snow|one big snowball], then a smaller one, and then a very small one for the head.",
        "They used {nose} for the nose and [two stones|two buttons] for the eyes. \"He looks cold,\" said {a}. {a.he} took off {a.his} [red|blue|green] scarf and put it on the snowman. [\"Now he is warm,\" {a.he} said.|The snowman seemed to smile.]",
        "{h} called them inside and gave them [hot chocolate|warm soup|hot milk with honey]. They watched the snowman from the window. [In spring, the snowman melted, and only the scarf was left. \"See you next winter,\" said {a}.|That night, {a} waved to the snowman and said good night.|The next day, all the children came to see the snowman.]",
        a=a, b=b, h=h, nose=nose)


@shape(2)
def dragon(w):
    a = w.child(); d = w.animal(["dragon", "bear", "lion"], named=w.r.random() < 0.5); d.adj = w.pick(["big", "huge", "great"])
    secret, gift = w.pick([("had a thorn in {d.his} foot", "pulled out the thorn"), ("was lonely", "sat down and told {d.him} a story"), ("had lost {d.his} baby", "helped {d.him} find the little one"), ("was cold and hungry", "gave {d.him} a blanket and a hot pie"), ("had a bad cold", "gave {d.him} hot tea with honey")])
    first = w.pick([intro(w, a) + "Everyone in the village was afraid of {full} on the mountain.", "Once upon a time, there was {full}. {D} lived [on a mountain|in a dark cave], and everyone was afraid of {d.him}.", "High on a mountain lived {full}. The people in the village were afraid of {d.him}. Only {a} was [curious|not afraid]."])
    full = f"{an(d.adj)} {d.noun}" + (f" named {d.n}" if d.named else "")
    if not d.named: d.n = f"the {d.noun}"
    return w.tell(first, "Every night, they heard a loud sound: \"{d.sound}!\" \"[It is angry|It wants to eat us],\" people said. But {a}, {brave}, thought, \"[Maybe something is wrong|Maybe {d.he} needs help].\" So {a.he} [walked up the mountain|climbed the mountain|went to the cave] with a lantern.",
        "{a} found {d} [in the cave|behind a rock]. {d} was crying. \"Why are you crying?\" asked {a}. {d} " + secret + ". \"[Nobody ever came to help me|Everyone runs away from me],\" {d} said. \"I will help you,\" said {a}. {a.he} " + gift + ".",
        "{d} [smiled|was so happy]. \"You are very kind,\" {d.he} said. [{d} carried {a} home on {d.his} back.|Together they walked down to the village.] At first, the people were afraid. Then {a} told them [everything|the story]. [From that day on, {d} was a friend of the whole village.|Now nobody was afraid of {d} anymore.|{d} kept the village safe, and {a} came to visit every week.]",
        a=a, d=d, full=full, D=d.n, brave=w.pick([f"the brave {a.noun}", f"a kind {a.noun}"]))


@shape()
def race(w):
    a = w.animal(["rabbit", "fox", "horse", "dog", "squirrel"]); b = w.animal(["turtle", "hedgehog", "mouse", "duck", "frog"])
    goal = w.pick(["the big oak tree", "the old bridge", "the river", "the red barn"])
    w.topics.append("a race")
    first = w.pick([intro(w, a) + "{a} was very fast, and {a.he} was proud of it.", "{a} was the fastest animal [around|in the forest]. \"Nobody can beat me,\" {a.he} said every day.", "{a} wanted to race. \"Who will run against me?\" {a.he} asked."])
    return w.tell(first, "{b.full}, heard this. \"I will race you,\" said {b}.".replace("{b.full},", "{b.full}") + " {a} laughed [and laughed|out loud]. \"You are too slow!\" {a.he} said. \"We will see,\" said {b}. They would run to {goal}.",
        "One, two, three, go! {a} ran [away fast|like the wind]. Soon {a.he} was far ahead. \"I have so much time,\" {a.he} thought. {a.he} [lay down in the grass and fell asleep|stopped to eat and then took a nap]. But {b} did not stop. {b.he} went on, step by step, [slowly|slow but sure].",
        "When {a} woke up, {a.he} [ran as fast as {a.he} could|jumped up and ran]. But it was too late. {b} was already at {goal}! [All the animals cheered.|Everyone clapped for {b}.] {a} was [surprised|ashamed]. \"[I am sorry that I laughed|You ran a good race],\" {a.he} said. \"[Thank you|We can race again tomorrow],\" said {b} [kindly|with a smile]. {a} never [laughed at|made fun of] slow animals again.",
        a=a, b=b, goal=goal)


@shape()
def greedy(w):
    a = w.animal(); b = w.friend_of(a); food = w.pick(["apples", "nuts", "berries", "pears", "plums", "cookies"])
    w.topics += [food]
    first = w.pick([intro(w, a) + when(w) + ", {a} found a big pile of {food}.", "{a} had a big pile of {food}. {a.he} did not want to share.", when(w) + ", {a} found a tree full of {food}.".replace("tree full", "basket full")])
    return w.tell(first, "{b} came by and asked, \"May I have some {food}, please?\" \"No,\" said {a}. \"They are all mine.\" {b} went away [hungry|sadly|with an empty belly]. {a} ate and ate and ate.",
        "Soon {a.his} belly hurt. {a.he} could not [walk|move] anymore. \"Ow, ow!\" cried {a}. \"[Help me|Please help me]!\" {b} heard {a.him} and came back. {b} [made some warm tea|brought cool water] for {a} and [sat with {a.him} all night|put a warm blanket on {a.him}].",
        "[The next day|In the morning], {a} felt better. \"I was not nice to you, but you helped me,\" said {a}. \"Why?\" \"Because that is what friends do,\" said {b}. {a} gave {b} half of the {food}. [They ate together, and it tasted much better.|After that, {a} always shared {a.his} food.|{a} was never greedy again.]",
        a=a, b=b, food=food)


@shape(2)
def lost_mother(w):
    kind, young, mom = w.pick([("duck", "duckling", "mother duck"), ("bear", "bear cub", "mother bear"), ("bird", "chick", "mother bird"), ("cat", "kitten", "mother cat"), ("dog", "puppy", "mother dog"), ("sheep", "lamb", "mother sheep"), ("fox", "fox cub", "mother fox"), ("elephant", "baby elephant", "mother elephant")])
    sex = w.pick("mf"); adj = w.pick(["little", "tiny", "small"])
    a = Who(f"the {adj} {young}", sex, an(f"{adj} {young}"), young, home="a cozy home")
    w.topics += [a.full, an(young)]; w.used.update([kind, young])
    h1, h2 = w.animal(["cow", "frog", "rabbit", "squirrel", "horse", "turtle"], False, False), w.animal(["owl", "hen", "mouse", "pig", "hedgehog"], False, False)
    h1.n, h2.n = "the " + h1.noun, "the " + h2.noun
    first = w.pick(["{a} could not find {a.his} mother.", "Once upon a time, there was {a.full}. One day, {a.he} could not find {a.his} mother.", when(w) + ", {a.full} went too far from home. {a.he} looked around, but {a.his} mother was not there.",
                    "{a} was sad because {a.he} had lost {a.his} mother.", "{a} wanted to find {a.his} mother."])
    return w.tell(first, "{a.he} met {h1.full}. \"Are you my mother?\" asked {a}. \"No,\" said {h1}. \"I am {ah1}. [I have not seen your mother|Try asking someone else].\" {a} walked on.",
        "Then {a.he} met {h2.full}. \"Have you seen my mother?\" asked {a}. \"What does she look like?\" asked {h2}. \"She is [big and warm|soft and kind|big and soft], and she sings to me at night,\" said {a}. \"[I heard someone calling by the river|I heard someone singing near the hill|Someone was calling for you near the old tree],\" said {h2}. \"Come, I will show you.\"",
        "{h2} and {a} went there together. There was the {mom}! \"My [little one|baby|dear]!\" she cried. {a} ran to her as fast as {a.he} could. {a.his} mother [held {a.him} close|gave {a.him} a big hug]. \"Thank you,\" she said to {h2}. [That night, {a} slept next to {a.his} mother, safe and warm.|{a} stayed close to {a.his} mother all day.]",
        a=a, h1=h1, h2=h2, ah1=an(h1.noun), mom=mom)


@shape()
def star(w):
    a = w.hero(); w.topics += ["a star", "the moon"]; b = w.friend_of(a, False)
    first = w.pick([intro(w, a) + "Every night, {a} looked at the stars.", "One night, {a} saw a star fall from the sky.", "{a} wanted to touch [the moon|a star]. {a.he} looked at the sky every night.", "{a} could not sleep. {a.he} looked out and saw a bright star."])
    return w.tell(first, "[One night, a|Then a] small star [fell down|came down] into the grass. It [was shining softly|glowed like a little lamp]. \"Hello,\" said the star. \"[I fell from the sky|I am far from home], and I do not know how to get back.\" [The star was cold and sad.|The star began to cry silver tears.]",
        "\"I will help you,\" said {a}. {a.he} [carried the star to the top of the highest hill|climbed to the top of a tall tree with the star]. But the sky was still too far. So {a} called {b}, and {b} [came at once|came to help]. Together they threw the star up, up, up into the [wind|night].",
        "The star [flew|rose] higher and higher until it was back [home|in the sky]. \"Thank you!\" it said. \"I will shine for you every night.\" [Now, when {a} looks up at night, one star shines a little brighter than the others.|From then on, {a} was never alone in the dark.|{a} and {b} waved, and the star blinked back.]",
        a=a, b=b)


@shape()
def sick(w):
    a = w.hero(); b = w.friend_of(a); food = w.pick(["chicken soup", "vegetable soup", "warm tea with honey", "fresh bread", "hot berry tea"]); g = w.pick(["a picture", "some flowers", "a funny story", "a book", "a little song"])
    if "story" in g or "song" in g: gv = "told {b.him} " + g if "story" in g else "sang {b.him} " + g
    else: gv = "gave {b.him} " + g
    w.topics.append("a sick friend")
    first = w.pick([intro(w, a) + "{a.his} best friend was {b.full}.", "{a} waited for {b}, but {b} did not come.", "{a} was worried because {b} was sick."])
    mid = "" if "sick" in first else when(w) + ", {b} did not come to play. \"Where is {b}?\" asked {a}. {a.he} went to {b}'s home and knocked on the door. "
    return w.tell(first, mid + "{b} was in bed. \"[I am sick|I do not feel well],\" said {b}. {b.his} [nose was red|head was hot]. {a} felt sorry for {b.him}.",
        "{a} [ran|went] home and made {food}. {a.he} [put it in a basket|carried it carefully] and brought it back. {b} [took a sip and smiled|tasted it and smiled]." .replace("took a sip and smiled|tasted it and smiled", "tasted it and smiled|had some and smiled") + " Then {a} " + gv + ". {b} [laughed for the first time that day|felt a little better].",
        "{a} came every day. After [three|four|five] days, {b} was well again. \"You are the best friend [ever|in the world],\" said {b}. [They went outside and played in the sun.|They ran out to play.] And when {a} caught a cold [the next week|in the winter], {b} came with {food}.",
        a=a, b=b, food=food)


@shape()
def kite(w):
    a = w.child(); o = w.toy(["kite", "balloon", "hat"]); tree = w.pick(TREES); b = w.animal(["bird", "squirrel", "monkey", "cat", "owl"]); p = w.place(["park", "hill", "meadow", "garden"])
    first = w.pick([intro(w, a) + when(w) + ", {a} took {a.his} {o.my} to {p.the}.", when(w) + ", {a} went to {p.the} with {o.a}. A strong wind was blowing.", "{a} had {o.a}. It was windy, and {a.he} was {p.at}."])
    return w.tell(first, "Suddenly, the wind [pulled|took] the {o} out of {a.his} hand. Up, up it went! Then it got stuck in {tree}. {a} jumped, but {a.he} could not reach it. {a.he} [threw a stick, but the {o} did not move|shook the tree, but nothing happened]. [\"Oh no!\" said {a}.|{a} was sad.]",
        "{b.full} sat in the tree. \"[Is this yours|What is wrong]?\" asked {b}. \"Yes, that is my {o},\" said {a}. \"Can you [help me|get it for me], please?\" \"[Of course|Sure|I can do that],\" said {b}. {b} [climbed to the top|went from branch to branch] and [pulled|pushed] the {o} [free|loose]. It came down, right into {a}'s [hands|arms]." .replace("[Is this yours|What is wrong]?\" asked {b}. \"Yes, that is my {o},\"", "Is this yours?\" asked {b}. \"Yes, that is my {o},\""),
        "\"Thank you!\" said {a}. {a.he} gave {b} {bfood}. [They played together all afternoon.|{a} held the {o} very tight on the way home.|Every time {a} came to {p.the}, {a.he} looked for {b} in the tree.]",
        a=a, b=b, o=o, tree=tree, p=p, bfood=w.pick([b.food, "a piece of bread"]))


@shape()
def bedtime(w):
    a = w.hero(); h = w.adult(a) if a.human else Who(f"{a.his} mother", "f", "", "mother")
    th = w.two(["counted ten sheep", "drank some warm milk", "listened to the rain", "turned to the left and to the right", "closed one eye and then the other", "looked at the moon", "thought about the sea"])
    w.topics.append("bedtime")
    first = w.pick([intro(w, a) + "One night, {a} could not sleep.", "It was late, but {a} could not sleep.", "It was night. The [moon|stars] [was|were] in the sky.".replace("[moon|stars] [was|were]", "moon was") + " {a} lay in bed, but {a.he} was not tired."])
    return w.tell(first, "{a.he} {t1}. {a.he} was still awake. {a.he} {t2}. {a.he} was still awake. \"I cannot sleep,\" {a.he} said to {h}.",
        "{h} came and sat [by the bed|close to {a.him}]. \"Close your eyes,\" said {h.he}. \"Think of [a quiet forest|a warm beach|a little boat on a lake]. The [wind is soft|water is still]. The birds are sleeping. [Even the moon is yawning.|The trees are sleeping too.]\" {h} sang a [soft|quiet] song.",
        "{a} [yawned|smiled]. {a.his} eyes were heavy. [Before the song was over|Soon], {a.he} was [asleep|fast asleep]. {h} [kissed {a.his} head|put the blanket over {a.him}] and said, \"Good night, [my dear|little one|my love].\" [And {a} dreamed of {dr}.|The stars watched over them until the morning.]",
        a=a, h=h, t1=th[0], t2=th[1], dr=w.pick(["a flying boat", "a garden of stars", "a kind dragon", "a sea of flowers", "a talking tree"]))


@shape()
def market_gift(w):
    a = w.child(); h = w.adult(a); o = w.toy(["hat", "scarf", "book", "lantern", "bell", "umbrella", "ring"]); coins = w.pick(["one", "two", "three", "five"]); k = w.pick(["baker", "farmer", "gardener", "fisherman", "shopkeeper"])
    c = "coin" if coins == "one" else "coins"
    if k == "shopkeeper": job = w.pick(["sweep the floor", "carry the boxes"])
    else: job = {"baker": "carry the bread", "farmer": "feed the hens", "gardener": "water the flowers", "fisherman": "wash the boat"}[k]
    first = w.pick([intro(w, a) + "{a} wanted to buy a gift for {h}.", "{a} wanted to buy {o.a} for {h}. But {a.he} had only {n} {c}.", "It was {h}'s birthday. {a} went to the market with {n} {c}."])
    return w.tell(first, "At the market, {a} saw {o.a}. It was [perfect|beautiful|just right]. \"How much is it?\" asked {a}. \"Ten coins,\" said the [woman|man]. {a} had only {n} {c}. {a.he} was [sad|disappointed], but {a.he} did not give up.",
        "{a} went to the {k}. \"[Can|May] I help you?\" {a.he} asked. \"Yes,\" said the {k}. \"You can {job}.\" {a} worked [hard |]all day. [It was hard work, but {a.he} did not stop.|{a.his} arms were tired, but {a.he} was happy.] In the evening, the {k} gave {a.him} ten coins.",
        "{a} ran back to the market and bought the {o}. Then {a.he} went home and gave it to {h}. \"This is for you,\" {a.he} said. {h} [had tears of joy|was so surprised|gave {a.him} a big hug]. \"It is the best gift [ever|I ever got],\" said {h}. [\"You worked so hard for it.\"|{a} was tired but very happy.]",
        a=a, h=h, o=o, n=coins, c=c, k=k, job=job)


@shape()
def return_it(w):
    a = w.child(); b = w.friend_of(a); o = w.toy(["ball", "doll", "teddy bear", "toy car", "book", "hat", "robot", "backpack", "whistle", "ring", "bell"]); p = w.place(["park", "playground", "beach", "village", "garden"])
    first = w.pick([intro(w, a) + when(w) + ", {a} found {o.a} {p.at}.", when(w) + ", {a} found {o.a} {p.at}. " + weather(w), "{a} was walking {p.at} when {a.he} saw {o.a} on the ground."])
    return w.tell(first, "It was very [nice|pretty]. {a} looked around, but nobody was there. \"[I want to keep it|Maybe I can keep it],\" {a.he} thought. {a.he} [took it home|put it in {a.his} bag]. But {a} [did not feel good|could not stop thinking about it]. \"[Somebody is looking for this {o}|This is not mine],\" {a.he} thought.",
        "The next day, {a} went back to {p.the}. There was {b.full}, who was crying. \"What is wrong?\" asked {a}. \"I lost my {o},\" said {b}. \"It was {o.a}.\" {a} [took the {o} out of {a.his} bag|held up the {o}]. \"Is this yours?\" {a.he} asked.",
        "\"Yes! Thank you!\" said {b}, and {b.his} tears [stopped|were gone]. {b} was so happy that {b.he} hugged {a}. \"Do you want to play with me?\" asked {b}. They played together until [dinner|the sun went down]. {a} had lost a {on}, but {a.he} had found a friend." if not o.noun[0] in "aeiou" else "\"Yes! Thank you!\" said {b}. They played together until dinner.",
        a=a, b=b, o=o, p=p, on=o.noun)


@shape()
def magic(w):
    a = w.hero(); m = w.pick(["stone", "ring", "lamp", "feather", "flute", "pen"]); col = w.pick(["blue", "golden", "silver", "old", "green"]); h = w.friend_of(a, False)
    w.topics += [f"a magic {m}", "a wish"]
    w1, r1 = w.pick([("a mountain of cake", "the cake was so big that nobody could open the door"), ("snow in summer", "all the flowers were cold and sad"), ("a hundred puppies", "the puppies ate everything in the house"), ("that it would never be night", "nobody could sleep"), ("that everything was made of gold", "there was no soft bed and nothing to eat")])
    first = w.pick([intro(w, a) + when(w) + ", {a} found {acol}.", when(w) + ", {a} found {acol} [in the grass|by the river|under a tree].", "{a} had a magic {m}. It was {col} and very old."])
    return w.tell(first, "[When {a} held the {m}, it|The {m}] began to [shine|glow]. \"I am a magic {m},\" it said. \"You have two wishes.\" {a} was [surprised|amazed]. {a.he} thought for [only a moment|a second] and wished for {w1}.".replace("for that", "that") if not w1.startswith("that") else "The {m} began to [shine|glow]. \"I am a magic {m},\" it said. \"You have two wishes.\" {a} was [surprised|amazed]. {a.he} wished {w1}.",
        "[Poof|Whoosh]! The wish came true. At first, {a} was happy. But then {r1}. {h} came and said, \"{a2}, what have you done?\" ^{a} felt [sorry|bad]. \"[I did not think|I should have thought about it first],\" {a.he} said.",
        "{a} took the {m} again. \"I wish that everything was [as it was before|the way it was],\" {a.he} said. [Poof|Whoosh]! Everything was normal again. {a} [gave the {m} to the river|put the {m} back where {a.he} had found it]. \"I have [good friends|all that I need],\" said {a}. \"I do not need wishes.\" {h} [smiled|nodded].",
        a=a, m=m, acol=an(f"{col} {m}"), col=col, w1=w1, r1=r1, h=h, a2=a.n if a.human or a.named else "my friend")


@shape()
def cold(w):
    a = w.hero(); h = w.adult(a) if a.human else Who(f"{a.his} mother", "f", "", "mother", call="Mother"); it = w.pick([("coat", "cold", "warm"), ("hat", "windy", "warm"), ("boots", "wet", "dry"), ("scarf", "cold", "warm")])
    w.topics.append("not listening")
    pl = it[0] == "boots"
    first = w.pick([intro(w, a) + "But {a} did not like to listen.", when(w) + ", {a} wanted to go outside and play.", "{a} wanted to go out. It was {wt} outside."])
    return w.tell(first, "\"Put on your {it},\" said {h}. \"It is {wt} today.\" \"I do not need {pron},\" said {a}. {a.he} ran outside without {pron}. [{a.he} jumped in the puddles.|{a.he} played in the wind.|{a.he} ran around and laughed.]",
        "Soon {a} [was cold|began to shake]. \"Achoo! Achoo!\" {a.he} sneezed. {a.his} nose was [red|cold] and {a.his} feet were wet. {a} went home. {h} put {a.him} to bed and gave {a.him} [hot soup|warm tea with honey]. \"I should have listened to you,\" said {a}.",
        "After a few days, {a} was well again. {a.he} wanted to go outside. This time, {a.he} [took|put on] the {it} first. \"[Look|See], I am wearing my {it}!\" {a.he} said. {h} [smiled|laughed]. {a} stayed {wd} and played all day.",
        a=a, h=h, it=it[0], wt=it[1], wd=it[2], pron="them" if pl else "it")


@shape()
def king(w):
    k, sex, title = w.pick([("king", "m", "king"), ("queen", "f", "queen"), ("prince", "m", "prince"), ("princess", "f", "princess")])
    a = Who("the " + k, sex, an(w.pick(["rich", "young", "old", "sad", "lonely"]) + " " + k), k, home="a big castle"); c = w.child(False)
    w.topics += [an(k), "a castle"]
    thing, why = w.pick([("played a happy song on a flute", "music"), ("told a funny story about a pig in a hat", "a good laugh"), ("showed {a.him} how to plant flowers", "a garden"), ("asked {a.him} to play hide and seek", "a friend"), ("brought a little puppy", "someone to love")])
    first = w.pick(["Once upon a time, there was {a.full} who lived in a big castle.", "In a big castle on a hill, there lived {a.full}.", "{a.full} lived in a castle with a hundred rooms.", "Long ago, in a land far away, there was {a.full}.", "{a} was sad because nothing made {a.him} happy."])
    return w.tell(first, "{a} had gold and fine clothes, but {a.he} never [smiled|laughed]. \"[I have everything, but I am not happy|Nothing makes me happy],\" {a.he} said. Many people came to the castle. One brought jewels. One brought a golden [crown|horse]. But {a} only [sighed|shook {a.his} head].",
        "Then {c.full} came. {c} had no gold and no jewels. \"What do you bring me?\" asked {a}. \"[Only myself|Nothing that costs money],\" said {c}. Then {c.he} " + thing + ".",
        "[Slowly|For the first time], {a} began to smile. Then {a.he} laughed out loud! \"[Now I know what I was missing|This is what I needed],\" said {a}. \"I needed {why}.\" [From that day on, {c} came to the castle every day, and {a} was happy.|{a} opened the castle doors for all the children, and it was never sad there again.]",
        a=a, c=c, why=why)


@shape(2)
def wise_owl(w):
    a = w.animal(["owl", "turtle"], named=w.r.random() < 0.5); a.adj = "old"; a.full = f"an old {a.noun}" + (f" named {a.n}" if a.named else "")
    if not a.named: a.n = w.pick(["the old " + a.noun, "the " + a.noun])
    b, c = w.animal(WOODLAND, None), w.animal(WOODLAND, None, False)
    food = w.pick(["nuts", "berries", "apples"]); home = a.home
    q = w.pick([0, 1, 2])
    forest = w.pick(["In the dark forest, {a.full} lived in {home}.", "In the dark forest, there lived {a.full}.", "Deep in the forest lived {a.full}.", "Once upon a time, {a.full} lived in {home} in the forest.", "There was once {a.full} who had seen many winters.", "In the [green|quiet|old] forest, {a.full} watched the night."])
    first = forest + " [All the animals came to {a.him} with their problems.|{a.he} was very wise, and everyone asked {a.him} for help.|{a.he} knew the answer to almost every question.]"
    if q == 0:
        return w.tell(first, when(w) + ", {b} and {c} came to {a}. They were [angry|fighting]. \"I found these {food} first!\" said {b}. \"No, I saw them first!\" said {c}. {a} [closed {a.his} eyes and thought|listened to both of them].",
            "\"How many {food} do you have?\" asked {a}. \"Ten,\" they said. \"And how many friends do you have?\" asked {a}. {b} looked at {c}. {c} looked at {b}. \"Only one,\" they said [quietly|softly]. \"Then which one is worth more?\" asked {a}.",
            "{b} and {c} were [ashamed|quiet]. \"[I am sorry|Let us share],\" said {b}. \"I am sorry too,\" said {c}. They put the {food} in two piles, five for {b} and five for {c}. [Then each of them gave one to {a} to say thank you.|Then they went home together, as good friends.]", a=a, b=b, c=c, food=food, home=home)
    if q == 1:
        return w.tell(first, when(w) + ", {b.full} came to {a}. \"I am too small,\" said {b}. \"I cannot do anything.\" {a} [smiled|nodded slowly]. \"[Wait and see|Small does not mean weak],\" said {a}.",
            "That night, there was a [big storm|strong wind]. {c} was stuck under a branch, in a very small hole. \"Help!\" cried {c}. The big animals tried to help, but they could not get into the hole. \"I am small enough,\" said {b}. {b} went in and pulled {c} out.",
            "[Everyone cheered for {b}.|\"You saved me!\" said {c}.] {b} went back to {a}. \"You were right,\" said {b}. \"Being small can be a good thing.\" \"[You were never too small|I knew it all the time],\" said {a}, and {a.he} smiled.", a=a, b=b, c=c, home=home)
    return w.tell(first, when(w) + ", {b.full} asked {a}, \"[What is the best thing in the world|What is the most important thing in the world]?\" ^{a} said, \"Go and ask the others, and then come back to me.\"",
        "So {b} asked {c}. \"The best thing is {c.food},\" said {c}. {b} asked the river. \"The best thing is to run to the sea,\" said the river. {b} asked the wind. \"The best thing is to be free,\" said the wind. {b} went back to {a}. \"Everyone says something different,\" said {b}.",
        "\"[And what made you happy today|What did you like best today]?\" asked {a}. {b} thought for a while. \"I liked talking to everyone,\" said {b}. \"[Then you have your answer|There you have it],\" said {a}. \"The best thing is [to have friends to talk to|a friend who listens].\"", a=a, b=b, c=c, home=home)


@shape()
def sea(w):
    a = w.child(); h = w.adult(a); o = Thing("shell", w.pick(["pink", "white", "golden", "blue"])); an_ = w.pick(["crab", "little fish", "starfish", "baby turtle"])
    w.topics += ["the sea", "a shell", an("crab") if an_ == "crab" else an(an_)]
    first = w.pick([intro(w, a) + when(w) + ", {a} and {h} went to the beach.", when(w) + ", {a} saw the sea for the first time.", "{a} wanted to see the sea. " + when(w) + ", {h} took {a.him} there."])
    return w.tell(first, "The water was [blue|cool] and the sand was warm. {a} took off {a.his} shoes and ran to the waves. Splash! {a.he} [built a big sand castle|looked for shells]. Then {a.he} found {o.a}. {a.he} held it to {a.his} ear. \"I can hear the sea,\" {a.he} said.",
        "Near a rock, {a} saw {b}. It was [stuck in the hot sand|far from the water] and could not get back. \"It needs the water,\" said {h}. {a} [took a bucket and carried it|carried it very gently] to the sea. It [swam|went] away happily, and {a} waved.",
        "When the sun went down, the sky was [red and orange|pink and gold]. {a} put the {o} in {a.his} pocket. [\"Now I can hear the sea at home too,\" {a.he} said.|At home, {a.he} put it next to {a.his} bed and listened to the sea until {a.he} fell asleep.]",
        a=a, h=h, o=o, b=an(an_))


@shape()
def tease(w):
    a = w.animal(named=None); feat = w.pick(["long ears", "big feet", "a loud voice", "a long nose", "a short tail", "big eyes"]); b, c = w.friend_of(a), w.friend_of(a, False)
    use = {"long ears": "heard a small voice far away, under the snow", "big feet": "walked over the deep snow and did not sink", "a loud voice": "called so loudly that everyone in the valley heard it", "a long nose": "smelled the way home, even in the dark", "a short tail": "went through the thorns and did not get stuck", "big eyes": "saw the way in the dark night"}[feat]
    first = w.pick([intro(w, a) + "But {a} had {feat}, and the others laughed at {a.him}.", "{a} had {feat}. The other animals laughed at {a.him}.", "{a} was sad because the others laughed at {a.him}. {a.he} had {feat}."])
    return w.tell(first, "\"Look at {a}!\" said {b}. \"[How funny|So funny]!\" said {c}. {a} [walked away|hid behind a tree] and cried. \"I wish I [was|looked] like the others,\" {a.he} said.",
        "One [winter|cold] night, {b} did not come home. There was snow everywhere, and {b} was lost. Everyone looked for {b.him}, but they could not find {b.him}. Then {a} came to help. {a.he} {use}. [Soon|Not long after], {a} found {b} and brought {b.him} home.",
        "\"Thank you, {a2},\" said {b}. \"I am sorry that I laughed at you.\" \"I am sorry too,\" said {c}. \"[It is good that you are different|You are wonderful just as you are].\" {a} smiled. [Nobody laughed at {a.him} again.|Now {a} was proud of what made {a.him} special.|From then on, they were all friends.]",
        a=a, b=b, c=c, feat=feat, use=use, a2=a.n if a.named else "dear " + a.noun)


@shape()
def night_noise(w):
    a = w.child(); h = w.adult(a); b = w.animal(["kitten", "mouse", "owl", "puppy", "squirrel", "hedgehog"], named=False); b.n = "the " + b.noun; where = w.pick(["under the bed", "in the closet", "behind the curtain", "outside the window", "in the kitchen", "on the roof" if b.noun in ("owl", "squirrel", "kitten") else "behind the door"])
    s = w.pick(["Scratch, scratch", "Tap, tap, tap", "Thump, thump", "Rustle, rustle"])
    w.topics.append("a strange noise in the night")
    first = w.pick([intro(w, a) + "One night, {a} heard a strange noise.", "\"{s}!\" In the middle of the night, {a} woke up. What was that noise?", "It was a dark night. {a} was in bed when {a.he} heard a noise."])
    return w.tell(first, "\"{s}!\" It came from {where}. \"Is it a monster?\" thought {a}. {a.his} heart was beating fast. {a.he} [pulled the blanket over {a.his} head|held {a.his} teddy bear tight] and called {h}.".replace("from {where}", "from somewhere {where}") ,
        "{h} came with a [small light|lamp]. \"Let us look together,\" said {h.he}. {a} took {h.his} hand. Step by step, they went to look {where}. {h} held up the light. There was no monster. There was only {b.full}!",
        "{b} was [cold and afraid|hungry and wet|more afraid than {a}]. \"{b.sound},\" {b.he} said [softly|in a small voice]. {a} laughed. \"You are not a monster!\" {a.he} said. {a} gave {b.him} [some water and a soft towel|{b.food}|a warm place to sleep]. [Then everyone went back to sleep.|After that, {a} was not afraid of noises in the night anymore.|\"Next time I will look first,\" said {a}.]",
        a=a, h=h, b=b, s=s, where=where)


@shape()
def diary(w):
    a = w.child(); b = w.friend_of(a, False); p = w.place(OUTDOOR); an_ = w.animal(["duck", "rabbit", "frog", "squirrel", "fox", "turtle", "kitten"], False, False)
    w.topics = [f"{a.n}'s day", f"a day {p.at}"]
    t = ("Dear diary,\n\nToday [is|was] {day}. In the morning, I [ate {food}|had {food} for breakfast] and went to {p.the} with {b}. The weather was [sunny|cloudy|windy|warm]. We saw {p.sees}.\n\n"
         "Then {b} saw {x.full}! It [looked at us|came very close] and then it [ran away|went away]. {b} said, \"[I wish I had one|It was so cute|What a nice animal]!\" We [talked about it all day|laughed a lot].\n\n"
         "When I came home, I was [tired|hungry and tired] but happy. [Mom|Dad|Grandma] made {f2} for dinner. [Tomorrow we will go again|I hope tomorrow is just as good|It was a good day].\n\n[Good night|Your friend|Love],\n{a}")
    f1, f2 = w.two(["pancakes", "bread and honey", "eggs", "soup", "rice", "noodles", "apple pie"])
    return w.fill(t, a=a, b=b, p=p, x=an_, day=w.pick(DAYS), food=f1, f2=f2)


@shape()
def letter(w):
    a = w.child(False); g = w.pick(["Grandma", "Grandpa", "Aunt " + w.name(GIRLS), "Uncle " + w.name(BOYS), w.name(GIRLS + BOYS)]); o = w.toy(); pet = w.animal(["dog", "cat", "puppy", "kitten", "rabbit", "hen"], True, False)
    w.topics = [f"a letter to {g}", "a letter"]
    return w.fill("Dear {g},\n\nThank you for the {o.my}. I [love it|like it very much|play with it every day]. [{pet} likes it too.|My friends like it too.]\n\n"
        "Yesterday, {pet}, our {pet.noun}, did something [funny|silly]. {He} [hid one of my shoes|jumped into the bath|ate my dinner|slept in my hat]! We all laughed. [Then we gave {pet.him} {pet.food}.|I was angry at first, but then I laughed too.]\n\n"
        "The weather here is [cold|sunny|rainy|warm]. [I go to school every day|We play outside every day|I am learning to read]. When will you come to visit us? I miss you[ very much|].\n\nLove,\n{a}",
        a=a, g=g, o=o, pet=pet, He=pet.he.capitalize())


@shape()
def helper_day(w):
    a = w.child(); h = w.adult(a); jobs = w.two([("picked the red apples", "the basket was full"), ("watered the flowers", "the flowers stood up tall"), ("fed the hens", "the hens said cluck, cluck"), ("washed the dishes", "the plates were clean and shiny"), ("swept the floor", "there was no dust left"), ("brought in the wood", "there was enough for the fire"), ("hung up the wet clothes", "they danced in the wind")], 3)
    food = w.pick(["pancakes with honey", "apple pie", "hot soup", "fresh bread with butter"]); w.topics.append("helping at home")
    first = w.pick([intro(w, a) + when(w) + ", {h} was very tired.", "{a} wanted to help {h}.", when(w) + ", {a} saw that {h} had a lot of work to do."])
    return w.tell(first, "\"Sit down and rest,\" said {a}. \"[I will do the work|Today I will help you].\" First, {a} {j1}. Soon {r1}. Then {a.he} {j2}. Soon {r2}.",
        "\"You are [such a good helper|working so hard],\" said {h}. \"[Are you tired|Do you want to stop]?\" \"[Not yet|A little, but I am not done],\" said {a}. Last of all, {a.he} {j3}, and {r3}.",
        "In the evening, {h} made {food}, and they ate together. \"[This is the best meal|It tastes so good] [because we worked for it|after all that work]!\" said {a}. {h} [gave {a.him} a kiss|hugged {a.him}] and said, \"[I am proud of you|Thank you for your help|You made my day].\"".replace("[This is the best meal|It tastes so good] [because we worked for it|after all that work]", "[This is the best meal ever|It tastes so good after all that work]"),
        a=a, h=h, food=food, j1=jobs[0][0], r1=jobs[0][1], j2=jobs[1][0], r2=jobs[1][1], j3=jobs[2][0], r3=jobs[2][1])


@shape()
def pet_wish(w):
    a = w.child(); h = w.adult(a); b = w.animal(["puppy", "kitten", "rabbit", "turtle", "bird", "hen", "dog", "cat"], named=True)
    first = w.pick([intro(w, a) + "{a.he} wanted {ab}.", "{a} wanted {ab} more than anything.", "{a} wanted a pet. {a.he} asked {h} every day.", "\"Please, can I have {ab}?\" asked {a}."])
    return w.tell(first, "\"A pet is a lot of work,\" said {h}. \"[You must feed it every day|You must take care of it every day, even when it rains].\" \"I will! I promise!\" said {a}. {h} said, \"[We will see|Let me think about it].\" So {a} [cleaned {a.his} room every day|helped at home every day] to show that {a.he} could do it.",
        when(w) + ", {h} came home with a box. [The box moved.|There were small holes in the box.] \"{b.sound},\" said the box. {a} opened it. Inside was {fullb}! \"Is {b.he} mine?\" asked {a}. \"Yes,\" said {h}. \"You have worked hard for this.\"",
        "{a} named {b.him} {b}. {a} gave {b} {b.food} and a soft bed. {a.he} kept {a.his} promise and took care of {b} every day. [At night, {b} slept next to {a}'s bed.|{b} followed {a} everywhere.|{a} and {b} were always together.]",
        a=a, h=h, b=b, ab=an(b.noun), fullb=an(f"{b.adj} {b.noun}"))


@shape()
def bridge(w):
    a = w.animal(); b = w.animal(); prob = w.pick(["the bridge was broken", "a big rock lay on the path", "the river was too deep", "a tree had fallen on the path"])
    goal = w.pick(["visit {a.his} grandma", "go to the market", "see {a.his} cousin", "get to the other side"])
    fix = {"the bridge was broken": "put a long log over the water and made a new bridge", "a big rock lay on the path": "pushed the rock together until it rolled away", "the river was too deep": "built a small raft from branches and floated across", "a tree had fallen on the path": "pulled the branches away one by one until the path was free"}[prob]
    first = w.pick([intro(w, a) + when(w) + ", {a} wanted to " + goal + ".", "{a} wanted to " + goal + ".", when(w) + ", {a} was on {a.his} way to " + goal.replace("get to the other side", "see the sea") + "."])
    return w.tell(first, "But {prob}. {a} tried [to get across|to go on], but {a.he} could not. [{a.he} pushed and pulled, but nothing happened.|{a.he} was too small to do it alone.] \"[What can I do|How will I get there]?\" said {a}.",
        "Then {b.full} came along. \"I want to go that way too,\" said {b}. \"But I cannot do it alone.\" {a} thought for a moment. \"[If we work together, we can do it|Two are stronger than one],\" {a.he} said. So they {fix}.",
        "\"We did it!\" they [cheered|said]. They walked on together and talked all the way. [When they came to the end of the path, they were good friends.|They shared {a.food} on the way.] Together, [hard things are easy|you can do almost anything].",
        a=a, b=b, prob=prob, fix=fix)


@shape()
def mended(w):
    a = w.child(); h = w.adult(a); o = w.toy(["doll", "kite", "teddy bear", "toy car", "toy boat", "toy train", "drum", "robot", "umbrella", "lantern"])
    how, tool = {"doll": ("the arm came off", "a needle and thread"), "kite": ("the paper was torn", "paper and glue"), "teddy bear": ("one ear came off", "a needle and thread"),
                 "toy car": ("a wheel came off", "a small hammer"), "toy boat": ("the sail was torn", "a piece of cloth"), "toy train": ("a wheel came off", "a small hammer"),
                 "drum": ("there was a hole in it", "paper and glue"), "robot": ("it did not move anymore", "a new spring"), "umbrella": ("there was a hole in it", "a piece of cloth"), "lantern": ("the handle came off", "a bit of wire")}[o.noun]
    first = w.pick([intro(w, a) + "{a.he} had {o.a}. " + when(w) + ", {how}.", "{a} was sad because {a.his} {o.my} was broken.", when(w) + ", {a} was playing with {a.his} {o.my} when {how}.", "{a} wanted to play with {a.his} {o.my}, but it was broken."])
    return w.tell(first, "\"[My {o} is broken|Look at my poor {o}],\" said {a}. \"Should we throw it away?\" \"No,\" said {h}. \"[Broken things can be mended|We can fix it together]. Bring me {tool}.\"",
        "They sat down at the [big |kitchen ]table. {h} showed {a} what to do. {a} worked [slowly and carefully|with care]. [It was not easy.|At first it did not work, so they tried again.] [After a while|At last], the {o} was as good as new.",
        "\"We did it!\" said {a}. {a} [played with the {o} all day|put the {o} next to {a.his} bed]. [Now {a.he} loved it even more, because {a.he} had fixed it {a.himself}.|When {a.his} friend's toy broke the next week, {a} said, \"Do not throw it away. I know how to fix it!\"]",
        a=a, h=h, o=o, how=how, tool=tool)


@shape()
def birthday(w):
    a = w.hero(); b = w.friend_of(a, False); c = w.friend_of(a, False); cake = w.pick([x for x in CAKES if "bread" not in x]); o = w.toy()
    w.topics += ["a birthday", "a surprise"]
    first = w.pick([intro(w, a) + "Today was {a.his} birthday.", "{a} was happy because it was {a.his} birthday.", "It was {a}'s birthday. {a.he} woke up with a big smile.", "{a} was sad because everyone had forgotten {a.his} birthday."])
    return w.tell(first, "{a} went to see {b}. \"[Do you know what day it is|What day is it today]?\" {a.he} asked. \"I think it is {day},\" said {b}. \"I am very busy now.\" Then {a} went to see {c}. \"[I have no time|I cannot play today],\" said {c}. {a} felt [sad|very sad]. \"Nobody remembers my birthday,\" {a.he} thought.",
        "In the evening, {a} went home. [The house was dark and quiet.|It was dark and there was no sound.] {a.he} opened the door. \"Surprise!\" they shouted. {b} and {c} were there, with {acake} and many [lights|balloons|flowers]!",
        "\"[We were busy all day because we made this for you|We wanted it to be a secret],\" said {b}. {c} gave {a} {o.a}. \"Thank you!\" said {a}. They ate the cake, sang and danced until late. [It was the best birthday of all.|\"You did not forget,\" said {a}. \"We would never forget you,\" said {c}.]",
        a=a, b=b, c=c, acake=an(cake), o=o, day=w.pick(DAYS))


@shape()
def hide_seek(w):
    a = w.hero(); b = w.friend_of(a); p = w.place(["forest", "garden", "park", "farm", "yard", "meadow"]); x, y, z = w.two(HIDE_OUT, 3)
    w.topics.append("hide and seek")
    first = w.pick([intro(w, a) + when(w) + ", {a} and {b} played hide and seek {p.at}.", "{a} and {b} were best friends. " + when(w) + ", they wanted to play hide and seek.", when(w) + ", {a} and {b} were {p.at}. \"Let us play hide and seek!\" said {a}.", "{a} wanted to play hide and seek with {b}."])
    return w.tell(first, "{b} closed {b.his} eyes and counted to ten. {a} looked for a good place to hide. {a.he} hid {z} and [was as quiet as a mouse|did not make a sound].",
        "\"Ten! Here I come!\" said {b}. {b} looked {x}. {a} was not there. {b} looked {y}. {a} was not there. \"Where are you?\" said {b}. {a} [wanted to laugh|held {a.his} breath]. Then a [little fly|leaf] landed on {a.his} nose. \"Achoo!\"",
        "\"I found you!\" said {b}, and [both of them laughed|they laughed and laughed]. \"[Next time I will hold my nose|That was not fair, it was the {thing}],\" said {a}. Then it was {b}'s turn to hide. They played until [it was time for dinner|the sun went down].".replace("|That was not fair, it was the {thing}", "|My nose told you where I was"),
        a=a, b=b, p=p, x=x, y=y, z=z)


@shape()
def picnic(w):
    a = w.hero(); b = w.friend_of(a); p = w.place(["park", "meadow", "lake", "river", "hill", "forest"]); f1, f2 = w.two(["bread", "cheese", "berries", "apples", "cookies", "plums", "pears"]); w.topics += ["a picnic"]
    first = w.pick([intro(w, a) + when(w) + ", {a} and {b} went on a picnic.", "{a} and {b} were [good|best] friends. " + when(w) + ", they went on a picnic.", "{a} packed a basket with {f1} and {f2}. {a.he} wanted to have a picnic with {b}."])
    return w.tell(first, "They sat down {p.at} on a soft blanket. " + weather(w) + " They had {f1} and {f2} in the basket. But when they [ran to pick flowers|went to look at the water|played for a while] and came back, the basket was [gone|not there]!".replace("|went to look at the water", ""),
        "\"Who took our basket?\" asked {a}. {b} saw something on the ground. \"Look, crumbs!\" said {b}. They followed the crumbs around a tree and over a log. At the end, they found a whole family of [ants|mice], and the basket was with them. \"[We are sorry|Please do not be angry],\" said the smallest one. \"We have not eaten for days.\"",
        "{a} looked at {b}, and {b} nodded. \"There is enough for all of us,\" said {a}. So they sat down together and shared the {f1} and the {f2}. [It was the biggest picnic of the year.|The little ones danced and sang for them.|It was more fun than a picnic for two.]",
        a=a, b=b, p=p, f1=f1, f2=f2)


@shape()
def new_baby(w):
    a = w.child(); h = w.adult(a); sib, sx = w.pick([("brother", "m"), ("sister", "f")]); n = w.name(BOYS if sx == "m" else GIRLS); b = Who(n, sx, n, "baby", human=True)
    w.topics += [f"a new baby {sib}", f"a little {sib}"]
    first = w.pick([intro(w, a) + "{a} had a new baby {sib} named {b}.", "{a} was sad because everyone looked only at the new baby.", when(w) + ", {a} got a baby {sib}. {b.his} name was {b}."])
    return w.tell(first, "\"The baby only sleeps and cries,\" said {a}. \"And nobody has time for me.\" Everyone [looked at|smiled at] the baby {sib}. {a} [sat in the corner|went to {a.his} room] and felt lonely.",
        "One night, {b} cried and cried. {h} [rocked|carried] {b.him}, but {b.he} did not stop. Then {a} came in. {a.he} [sang a little song|made a funny face|showed {b.him} a teddy bear]. {b} looked at {a} and [laughed|smiled] for the first time! \"{b.he} likes you,\" said {h}. \"You are a wonderful big {big}.\"",
        "{a} felt [warm and proud|very happy]. From then on, {a.he} [sang to {b} every night|told {b} a story every night]. \"[When you are big, I will show you everything|I will teach you how to play ball],\" {a.he} said. And {b} [held {a.his} finger and smiled|smiled at {a.him}].",
        a=a, b=b, h=h, sib=sib, big="brother" if a.sex == "m" else "sister")


@shape()
def caterpillar(w):
    a = Who(w.pick(["the caterpillar", "the little caterpillar", "the green caterpillar"]), w.pick("mf"), "a little caterpillar", "caterpillar"); b = w.animal(["bird", "frog", "turtle", "mouse", "squirrel", "rabbit"]); col = w.two(COLORS[:7])
    w.topics = ["a caterpillar", "a butterfly"]
    first = w.pick(["{a} wanted to fly.", "Once upon a time, there was {a.full} who wanted to fly.", "There was {a.full} who lived on a green leaf.", "On a green leaf in the garden, there lived {a.full}.", "{a} was sad because {a.he} could not fly."])
    return w.tell(first, "Every day, {a} looked up at the [sky|birds]. \"I wish I could fly,\" {a.he} said. \"You have no wings,\" said {b.full}. \"But you are good at eating leaves.\" {a} [sighed|was sad] and ate another leaf.",
        "[In autumn|Then one day], {a} felt very [tired|sleepy]. {a.he} made a small, warm bed around {a.himself} and fell asleep. {a.he} slept for [a long time|many days]. {b} [came by every day|waited], but {a} did not wake up.",
        "One [warm|spring] morning, the little bed opened. {a} came out and felt something on {a.his} back. {a.he} had [big|beautiful] {c1} and {c2} wings! {a.he} was a butterfly now. \"Look at me!\" {a.he} called and flew over the garden. \"You only needed time,\" said {b}, and [smiled|waved to {a.him}].",
        a=a, b=b, c1=col[0], c2=col[1])


@shape()
def school(w):
    a = w.child(); b = w.friend_of(a); h = w.adult(a); t = w.pick(["Mrs. Green", "Mr. Brown", "Mrs. Hill", "Mr. Wood"]); g = w.pick(["painted a big tree", "sang a song about the moon", "counted to one hundred", "learned the letter " + w.pick("ABMST"), "planted beans in small cups"])
    w.topics.append("the first day of school")
    first = w.pick([intro(w, a) + "Today was {a.his} first day of school.", "It was the first day of school. {a} was [nervous|afraid].", "{a} was afraid because it was the first day of school.", "{a} did not want to go to school."])
    return w.tell(first, "\"What if nobody likes me?\" {a.he} asked. \"[Just be yourself|Be kind, and you will find a friend],\" said {h}, and [held {a.his} hand|gave {a.him} a hug]. The school was [big|loud], and there were so many children.",
        "The teacher, {t}, [smiled at {a}|said, \"Welcome, {a}!\"] {a} sat down next to {b.full}. {b} had dropped {b.his} pencil, and it rolled away. {a} picked it up. \"Thank you,\" said {b}. \"I was afraid that nobody would talk to me.\" \"Me too!\" said {a}, and they both laughed.".replace("[smiled at {a}|said, \"Welcome, {a}!\"]", "smiled at {a} and said, \"Welcome!\" ^"),
        "That day, the children {g}. At lunch, {a} and {b} shared {a.food}. When {h} came, {a} [ran to the door|was smiling]. \"How was it?\" asked {h}. \"[It was great|I have a new friend]! Can I go again tomorrow?\" said {a}.",
        a=a, b=b, h=h, t=t, g=g)


@shape()
def cat_mouse(w):
    a = w.animal(["cat", "dog", "fox", "wolf", "lion"]); b = w.animal(["mouse", "rabbit", "bird", "hedgehog"], False); b.n = "the " + b.noun; trap = w.pick(["a net", "a deep hole", "a thorn bush", "an old rope"])
    first = w.pick([intro(w, a) + when(w) + ", {a} caught {b.full}.", "{a} caught {b.full}. \"Now I will eat you,\" said {a}.", "{a} wanted to catch {b.full}. " + when(w) + ", {a.he} did."])
    return w.tell(first, "\"Please let me go,\" said {b}. \"One day I will help you too.\" {a} [laughed|smiled]. \"How can someone so small help me?\" {a.he} said. But {a} was not [very hungry|bad], and {a.he} let {b} go.",
        when(w) + ", {a} [was stuck in|got caught in] {trap}. {a.he} pulled and pulled, but {a.he} could not get out. \"Help!\" cried {a}. {b} heard {a.him} and came [running|at once]. \"[I will help you|Hold still],\" said {b}. {fix}.",
        "\"You saved me,\" said {a}. \"I was wrong. [Even a small friend can be a great help|It does not matter how small you are].\" \"You were kind to me, and I did not forget it,\" said {b}. [From that day on, they were friends.|They walked home together, the big one and the small one.]",
        a=a, b=b, trap=trap, fix={"a net": "^{b} worked on the net, little by little, until there was a hole in it", "a deep hole": "^{b} pushed a long branch into the hole, and {a} climbed up", "a thorn bush": "^{b} pulled the thorns away, one by one, until {a} was free", "an old rope": "^{b} worked on the knot for a long time, until it was open"}[trap].format(a=a, b=b))


@shape()
def quarrel(w):
    a = w.hero(); b = w.friend_of(a); o = w.toy(["ball", "kite", "book", "drum", "puzzle", "toy car", "toy boat", "hat", "umbrella"])
    w.topics.append("two friends")
    first = w.pick(["{a} was angry because {b} had lost {a.his} {o.my}.", "{a} and {b} were friends, but today they were angry.", intro(w, a) + when(w) + ", {a} was very angry with {b}.", "{a} did not want to talk to {b}."])
    return w.tell(first, "\"You lost my {o}!\" said {a}. \"It was not my fault,\" said {b}. \"The [wind|river] took it.\" \"I will never play with you again,\" said {a}. {b} went home with tears in {b.his} eyes.",
        "{a} sat alone [all day|under a tree]. {a.he} [looked at the clouds|threw little stones into the water]. [It was very quiet.|It was boring without {b}.] \"It was only {oa},\" {a.he} thought. \"But I have only one {b}.\" So {a} went to find {b}.".replace("I have only one {b}", "I miss my friend"),
        "{b} was already on the way to {a}. \"I am sorry,\" they said at the same time, and then they [laughed|had to laugh]. {b} had made [a little gift|a card] for {a}. \"[You are worth more than {oa}|Let us never fight again],\" said {a}. They [hugged|shook hands] and played until [it was dark|the sun went down].",
        a=a, b=b, o=o, oa=o.a_n)


# ---------------------------------------------------------------- the public face
_TOTAL = [f for f, n in SHAPES for _ in range(n)]


def story(seed):
    """One story and what it is about (a list of noun phrases)."""
    w = World(seed)
    f = w.pick(_TOTAL)
    w.shape = f.__name__
    text = f(w)
    low = text.lower()
    w.topics = [t for t in w.topics if t.split()[-1].lower() in low] or w.topics[:1]
    return text, w.topics, w


ASKS = ["Tell me a story about {x}.", "Tell me a story about {x}.", "Tell me a story about {x}", "Tell me a short story about {x}.", "Write a story about {x}.",
        "Can you tell me a story about {x}?", "Please tell me a story about {x}.", "I want a story about {x}.", "Write a short story about {x}.", "A story about {x}, please."]
SMALL_TALK = [
    (["Hello!", "Hi!", "Hello", "Hi there!", "Good morning!"], ["Hello! Would you like to hear a story?", "Hi! I can tell you a story. What should it be about?"]),
    (["Who are you?", "What are you?", "What is your name?"], ["I am a very small story teller. I can tell you short stories about children and animals."]),
    (["What can you do?", "Can you help me?"], ["I can tell short stories. Ask me for a story about a dog, a dragon or a red ball!"]),
    (["Thank you!", "Thanks!", "That was nice."], ["You are welcome! Do you want to hear another story?", "I am glad that you liked it."]),
    (["Goodbye!", "Bye!", "Good night!"], ["Goodbye! Come back soon for another story.", "Good night! Sleep well."]),
]


def document(seed):
    """One training document: usually a plain story, sometimes in chat form."""
    r = random.Random(seed * 7919 + 13)
    text, topics, w = story(seed)
    if r.random() >= 0.16:
        return text
    if r.random() < 0.06:
        q, ans = r.choice(SMALL_TALK)
        return chat(r.choice(q), r.choice(ans))
    if r.random() < 0.12:
        return chat(r.choice(["Tell me a story.", "Tell me a story", "Tell me a story, please.", "Can you tell me a story?", "I want to hear a story."]), text)
    topics = list(dict.fromkeys(topics))
    r2 = r.random()
    x = topics[0] if r2 < 0.6 or len(topics) < 2 else f"{topics[0]} and {topics[1]}" if r2 < 0.85 else r.choice(topics)
    return chat(r.choice(ASKS).format(x=x), text)


def chat(user, answer):
    return f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"


if __name__ == "__main__":
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    start = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for i in range(start, start + n):
        print(document(i), "\n" + "-" * 70)
