"""The page shell: escaping, structure, alignment, and nothing that reaches outside the page."""

from html.parser import HTMLParser

import pytest

from calibrate.plumbing.html import (
    Cell,
    Chart,
    Charts,
    Column,
    Details,
    Facts,
    Headline,
    Notice,
    Notices,
    Paragraph,
    Section,
    Table,
    aligned,
    render_page,
)

EVIL = '<script>alert("x")</script> & co'
VOID = {"meta", "br", "img", "link", "hr", "input"}


class Balance(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.errors, self.tags, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.errors.append(f"{tag} at {self.getpos()}")

    def handle_data(self, data):
        self.text.append(data)


def parsed(page):
    parser = Balance()
    parser.feed(page)
    parser.close()
    return parser


def every_block():
    table = Table(
        EVIL,
        (Column(EVIL), Column("n", "number"), Column("w", wide=True)),
        ((Cell(EVIL, note=EVIL), "0.5012(13)", Cell("a", share=0.5)), ("b", "64", Cell("c", tint=-0.5))),
    )
    return (
        Headline(EVIL, EVIL),
        Paragraph(EVIL),
        Paragraph("small", small=True),
        Notices((Notice("serious", EVIL, EVIL), Notice("good", "fine"))),
        Charts((Chart("<svg></svg>", EVIL),)),
        table,
        Facts(((EVIL, EVIL),)),
        Details(EVIL, (table,)),
    )


def test_every_block_renders_as_balanced_html_and_escaped():
    page = render_page(EVIL, [Section(EVIL, every_block())], eyebrow=EVIL, lead=every_block(), footer=EVIL)
    result = parsed(page)
    assert result.errors == [] and result.open == []
    assert not any(tag == "script" for tag, _ in result.tags)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 20
    assert [tag for tag, _ in result.tags].count("svg") == 2, "the figures' markup itself is not escaped"


def test_pages_load_nothing_and_do_not_depend_on_the_day():
    page = render_page("t", [Section("s", every_block())])
    assert page == render_page("t", [Section("s", every_block())])
    assert not any(attribute in attrs for _, attrs in parsed(page).tags for attribute in ("src", "href", "srcset"))
    assert "url(" not in page and "@import" not in page and "http" not in page


def test_an_unencodable_file_name_does_not_keep_the_page_from_being_written():
    page = render_page("flat_\udcff.tif", [])
    assert "flat_?.tif" in page
    page.encode("utf-8")


def test_notices_say_their_severity_in_a_word():
    page = render_page("t", [Section("s", (Notices((Notice("caution", "drift", "drift"),)),))])
    assert "<b>Caution</b>" in page and "<code>drift</code>" in page


def test_aligned_keeps_the_text_and_gives_one_width_to_a_column():
    texts = ["0.5012(13)", "64", "-3.2(1)e-09", "2346(12)", "n/a", "1e+06"]
    cells = aligned(texts)
    assert ["".join(parsed(cell).text) for cell in cells] == texts
    widths = {cell.split("min-width:")[1].split("ch")[0] for cell in cells if "min-width" in cell}
    assert widths == {"4"}, "2346 is the longest integer part"
    assert "min-width" not in cells[4]
    assert ">2346</span>" in cells[3] and ">1</span>" in cells[5]


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="row 1 has 1 cells; expected 2"):
        Table("t", (Column("a"), Column("b")), (("x", "y"), ("x",)))
