"""English text to train the tiny tokenizers on, and rows that a tiny model can learn."""

from __future__ import annotations

import string

# Label words for tests: single tokens in running text, in every tiny tokenizer.
WORDS = (
    "world",
    "sports",
    "business",
    "technology",
    "good",
    "bad",
    "great",
    "terrible",
    "yes",
    "no",
    "news",
)

SENTENCES = """\
The river rose in the night and the old bridge was closed before the first bus came.
A small boat carried letters, bread and two hens to the island every second Monday.
She wrote the report in one evening, slept badly and changed the last page at dawn.
The committee met for three hours and agreed only on the date of the next meeting.
Voters in the northern province chose a new governor after a long and bitter campaign.
The ministers signed an agreement about the border, the refugees and the price of water.
Soldiers left the capital on Sunday, and the president spoke of peace to a quiet crowd.
An earthquake shook the coast; the government sent doctors, tents and blankets.
Her embassy said that talks about the treaty would go on through the winter.
Police and protesters stood on the square until the minister promised an election.
The striker scored twice in the second half, and the home team won the cup at last.
He lost the final set, threw his racket down and shook hands with the champion.
The coach praised the young goalkeeper, who had stopped a penalty with his left foot.
Rain delayed the race, but the runner from Kenya broke the record by four seconds.
The league fined both clubs after the match, because players had argued with the referee.
A tired team played a draw in the stadium, and the fans sang until the players came back.
Shares of the bank fell by a tenth when the company reported a loss for the quarter.
The factory will hire forty workers, its owner said, if orders keep growing this year.
Investors sold bonds, oil prices rose, and the market closed lower than the week before.
The shop raised its prices twice, yet profit and sales were both higher than in spring.
Two airlines plan to merge; the union fears for jobs and the bank wants its money.
The central bank left interest rates alone and said that inflation would slow down.
The new phone has a better camera, but its software drains the battery by noon.
Engineers tested a chip that learns from data and needs very little electric power.
A free computer program finds errors in code before the user ever sees them.
The satellite sent its first pictures, and scientists found ice in a deep crater.
The robot sorts parcels at night; its makers teach it with video from the internet.
Hackers copied passwords from the server, so the network was shut for two days.
The soup was cold, the waiter was rude, and we will surely never eat there again.
A lovely film: funny, warm and clever, with actors who seem to enjoy every scene.
The room was clean and the staff were friendly, although the street was rather loud.
I bought this lamp in March and it broke in April; what a waste of money and time.
What a boring book, with flat characters and a story that goes nowhere at all.
Best pizza in town, quick service, fair prices, and they let us bring the dog.
Does the library open on Saturday? It does, but only in the morning, from nine to one.
Is it true that whales sleep? They do, with half of the brain awake at any time.
If the garden is dry, then somebody must carry water; otherwise the beans will die.
The teacher asked a question, the class was silent, and a boy at the window laughed.
My brother repairs clocks, my sister drives a truck, and I do what I can with words.
Nobody knows why the lights went out, or why they came back exactly one hour later.
"""

# Frames that repeat WORDS often enough for every trainer to keep them whole.
FRAMES = (
    "It was {} in the end.",
    "The topic of this is {}, they said.",
    "In {} today: a short report.",
    "All in all {} and nothing else.",
)


def training_text() -> list[str]:
    """The sentences to train tokenizers on, in a fixed order."""
    lines = [*SENTENCES.splitlines(), " ".join(string.ascii_letters + string.digits + string.punctuation)]
    for word in WORDS:
        lines += [frame.replace("{}", word) for frame in FRAMES] * 3
        lines.append(word.capitalize() + " is a word, and " + word + " is in this sentence again.")
    return lines


LABELS = ("World", "Sports", "Business", "Technology")

_ROWS = {
    "World": """\
The president spoke of peace with the minister.
Voters chose a new government after the election.
Soldiers left the border and refugees came home.
The ministers signed the treaty in the capital.
The governor and the embassy agreed on the border.
Protesters asked the government for an election.
The president sent soldiers to the capital.
A minister promised peace to the refugees.
The embassy said the treaty would bring peace.
Voters in the province chose the governor.
""",
    "Sports": """\
The team won the match in the stadium.
The striker scored and the coach was happy.
The goalkeeper stopped a penalty in the final.
The runner broke the record in the race.
Fans sang when the champion won the cup.
The referee argued with players and the coach.
Both clubs in the league played a draw.
The young striker scored twice in the match.
The coach praised the team after the race.
Players and fans left the stadium after the final.
""",
    "Business": """\
Shares of the bank fell in the quarter.
The company reported a loss and lower sales.
Investors sold bonds and oil prices rose.
The factory will hire workers for new orders.
The market closed higher on profit and sales.
The bank left interest rates alone.
Inflation and prices rose in the market.
The owner of the company sold shares.
Airlines reported profit and higher prices.
The union fears for jobs at the factory.
""",
    "Technology": """\
The phone has a camera and new software.
Engineers tested a chip for the computer.
Hackers copied passwords from the server.
The robot learns from data and video.
The satellite sent data over the network.
The program finds errors in computer code.
The software drains the battery of the phone.
Scientists teach the robot with computer code.
The server and the network were shut by hackers.
A chip in the camera needs little power.
""",
}


def news_rows() -> list[dict[str, str]]:
    """Return forty labeled rows ``{"id", "text", "label"}`` with alternating labels and words of their topic."""
    columns = [[(text, label) for text in _ROWS[label].splitlines()] for label in LABELS]
    pairs = [pair for group in zip(*columns, strict=True) for pair in group]
    return [{"id": f"n{i}", "text": text, "label": label} for i, (text, label) in enumerate(pairs)]
