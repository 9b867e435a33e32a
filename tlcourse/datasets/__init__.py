"""Typed records out of the assets: sentences in four domains, corpora, WordNet, tasks, solar cells, digits, words."""

from tlcourse.datasets.columns import Tagged, read_conll2003, read_wnut17
from tlcourse.datasets.corpora import (
    CORPORA,
    Verse,
    bible_documents,
    corpus,
    corpus_split,
    shakespeare_documents,
    verses,
)
from tlcourse.datasets.descriptions import Package, description_documents, package_split, packages
from tlcourse.datasets.documents import Document, Parts
from tlcourse.datasets.gold import GoldSentence, gold_articles, gold_entities
from tlcourse.datasets.images import Images, digits, fashion_mnist
from tlcourse.datasets.judges import human_accuracy, vader
from tlcourse.datasets.matching import GlossPair, gloss_pairs, overlap_scores
from tlcourse.datasets.names import Gazetteer, editorial_gazetteer, gazetteer
from tlcourse.datasets.reading import gloss_questions, overlap_answer
from tlcourse.datasets.sentences import (
    DOMAINS,
    Sentence,
    Split,
    draw,
    groups,
    labels,
    sentiment,
    sentiment_split,
    share_kept,
    texts,
    valences,
)
from tlcourse.datasets.silver import lookup_tags, silver_entities
from tlcourse.datasets.solar import IndexSplit, SolarCells, solar_cells, solar_split
from tlcourse.datasets.spoken import SpokenWords, spoken_split, spoken_words
from tlcourse.datasets.squad import Answer, Question, answer_texts, read_squad, write_squad
from tlcourse.datasets.summaries import SummaryPair, first_sentence, summary_pairs
from tlcourse.datasets.topics import Gloss, gloss_topics, topic_classes, topic_labels
from tlcourse.datasets.wordnet import (
    CLASSES,
    NamedInstance,
    Synset,
    distinct_synsets,
    gloss_documents,
    instance_split,
    named_instances,
    synsets,
    wordnet_split,
)

__all__ = [
    "CLASSES",
    "CORPORA",
    "DOMAINS",
    "Answer",
    "Document",
    "Gazetteer",
    "Gloss",
    "GlossPair",
    "GoldSentence",
    "Images",
    "IndexSplit",
    "NamedInstance",
    "Package",
    "Parts",
    "Question",
    "Sentence",
    "SolarCells",
    "Split",
    "SpokenWords",
    "SummaryPair",
    "Synset",
    "Tagged",
    "Verse",
    "answer_texts",
    "bible_documents",
    "corpus",
    "corpus_split",
    "description_documents",
    "digits",
    "distinct_synsets",
    "draw",
    "editorial_gazetteer",
    "fashion_mnist",
    "first_sentence",
    "gazetteer",
    "gloss_documents",
    "gloss_pairs",
    "gloss_questions",
    "gloss_topics",
    "gold_articles",
    "gold_entities",
    "groups",
    "human_accuracy",
    "instance_split",
    "labels",
    "lookup_tags",
    "named_instances",
    "overlap_answer",
    "overlap_scores",
    "package_split",
    "packages",
    "read_conll2003",
    "read_squad",
    "read_wnut17",
    "sentiment",
    "sentiment_split",
    "shakespeare_documents",
    "share_kept",
    "silver_entities",
    "solar_cells",
    "solar_split",
    "spoken_split",
    "spoken_words",
    "summary_pairs",
    "synsets",
    "texts",
    "topic_classes",
    "topic_labels",
    "vader",
    "valences",
    "verses",
    "wordnet_split",
    "write_squad",
]
