"""Data set repositories on the model hub that tasks here come from. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.sources.archive import HubFiles


@dataclass(frozen=True)
class Repository:
    """A data set repository on the hub, and what is said of all its tasks.

    Attributes:
        name: Its id.
        revision: Commit or branch.
        licence: Of the data.
        citation: Of the data.
    """

    name: str
    revision: str
    licence: str
    citation: str

    def files(self, splits: Mapping[str, str]) -> HubFiles:
        """The files of some splits."""
        return HubFiles(self.name, self.revision, tuple(splits.values()))


ZHANG = "Zhang et al. 2015, arXiv:1509.01626"
AG = Repository(
    "fancyzhx/ag_news",
    "eb185aade064a813bc0b7f42de02595523103ca4",
    "not stated; collected for research",
    f"{ZHANG}; Gulli's corpus of news articles",
)
DBPEDIA = Repository(
    "fancyzhx/dbpedia_14", "9abd46cf7fc8b4c64290f26993c540b92aa145ac", "CC BY-SA 3.0", f"{ZHANG}; DBpedia 2014"
)
YAHOO = Repository(
    "community-datasets/yahoo_answers_topics",
    "6652a1e7c94f7260a0bfd0c9092dd48e2d536ea1",
    "Yahoo Webscope L6: research only",
    ZHANG,
)
YELP = Repository(
    "Yelp/yelp_review_full", "c1f9ee939b7d05667af864ee1cb066393154bf85", "Yelp's data set terms: research only", ZHANG
)
AMAZON = Repository(
    "yassiracharki/Amazon_Reviews_for_Sentiment_Analysis_fine_grained_5_classes",
    "refs/convert/parquet",  # no commit of it was found in public
    "not stated; reviews collected by SNAP (McAuley and Leskovec 2013)",
    ZHANG,
)
GLUE = Repository(
    "nyu-mll/glue",
    "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
    "each task has its own: see gluebenchmark.com",
    "Wang et al. 2019, arXiv:1804.07461",
)
SUPER_GLUE = Repository(
    "aps/super_glue",
    "3de24cf8022e94f4ee4b9d55a6f539891524d646",
    "each task has its own: see super.gluebenchmark.com",
    "Wang et al. 2019, arXiv:1905.00537",
)
CLINC = Repository(
    "clinc/clinc_oos",
    "155b9c710419136e17307b80d0a13e68cd46b4ec",
    "CC BY 3.0",
    "Larson et al. 2019, https://aclanthology.org/D19-1131",
)
BANKING = Repository(
    "legacy-datasets/banking77",
    "f54121560de48f2852f90be299010d1d6dc612ec",
    "CC BY 4.0",
    "Casanueva et al. 2020, arXiv:2003.04807",
)
WNUT = Repository(
    "leondz/wnut_17",
    "1ac0b6d18c8a1a1d1606b24bef78b8af2f92d2d9",
    "CC BY 4.0",
    "Derczynski et al. 2017, https://aclanthology.org/W17-4418",
)
FEW_NERD = Repository(
    "DFKI-SLT/few-nerd",
    "205f3e9c9f3577ea2561d43f2f62dc249ab92d5b",
    "CC BY-SA 4.0",
    "Ding et al. 2021, arXiv:2105.07464",
)
