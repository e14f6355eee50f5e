from pet import PetClassifier

texts = ["The fans sang when the champion won the cup.", "The bank reported a loss for the quarter."]
labels = ["sports", "business"]
more_texts = ["The striker scored twice.", "Oil prices rose.", "The coach was happy.", "Shares fell again."]

classifier = PetClassifier(
    patterns=["{mask}: {text}", "{text} (News about {mask}.)"],
    verbalizer={"sports": "sports", "business": "business"},
)
classifier.fit(texts, labels, unlabeled=more_texts)
print(classifier.predict(["The team lost the final.", "The factory hires workers."]))
print(classifier.predict_proba(["The market closed higher."]).round(2))
classifier.save("my-classifier")  # for transformers' pipeline("text-classification") and for `pet predict`
