"""The vocabulary of the lighting catalogue: series, options, sentences, attributes."""

from __future__ import annotations

from typing import Any, Final

# code, name, kind in German, kind in English
SERIES: Final = (
    ("AAXCBE", "Caleo-AX Inverse", "LED Anbauleuchte", "LED surface luminaire"),
    ("ABXCBD", "Caleo-BX", "LED Anbauleuchte", "LED surface luminaire"),
    ("CRXEPA", "Caleo-R", "LED Rundleuchte", "LED round luminaire"),
    ("RIPEND", "Ringo Pendant", "LED Pendelleuchte", "LED pendant luminaire"),
    ("LIQEIN", "Liquid Line", "LED Einbauleuchte", "LED recessed luminaire"),
    ("MATSTR", "Matric Track", "LED Strahler für Stromschiene", "LED track spotlight"),
    ("BASFLU", "Basic Corridor", "LED Deckenleuchte", "LED ceiling luminaire"),
    ("OUTWAL", "Outwall", "LED Wandleuchte für den Außenbereich", "LED outdoor wall luminaire"),
    ("HALTIE", "Halo High Bay", "LED Hallentiefstrahler", "LED high-bay luminaire"),
    ("NOTSIG", "Signet", "LED Rettungszeichenleuchte", "LED exit sign luminaire"),
)
# code, kelvin, German, English
CCTS: Final = (
    ("827", "2700K", "extra warmweiß", "extra warm white"),
    ("830", "3000K", "warmweiß", "warm white"),
    ("840", "4000K", "neutralweiß", "neutral white"),
    ("865", "6500K", "tageslichtweiß", "daylight white"),
)
OPTICS: Final = (("H", "90"), ("M", "60"), ("N", "24"), ("W", "120"))
FINISHES: Final = (("W", "weiß"), ("B", "schwarz"), ("Q", "silber"), ("G", "graphit"))
SENTENCES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "de": (
        "{name}: {kind} mit {light}em Licht für klare, ruhige Räume.",
        (
            "Das Gehäuse besteht aus stranggepresstem Aluminium und ist pulverbeschichtet.",
            "Die mikroprismatische Abdeckung begrenzt die Blendung an Bildschirmarbeitsplätzen.",
            "Das Betriebsgerät ist in der Leuchte untergebracht und über DALI-2 steuerbar.",
            "Die Leuchte wird anschlussfertig mit werkzeugloser Steckklemme geliefert.",
            "Lichtfarbe und Lichtstrom bleiben über die gesamte Lebensdauer gleichmäßig.",
            "Die flache Bauform eignet sich für niedrige Decken und Flure.",
            "Für den Außenbereich stehen Ausführungen mit höherer Schutzart zur Verfügung.",
            "Die Montage erfolgt mit zwei Schrauben; die Leitung kann von drei Seiten eingeführt werden.",
            "Ein Notlichtbaustein für drei Stunden lässt sich nachrüsten.",
            "Die indirekte Komponente hellt die Decke auf und lässt den Raum höher wirken.",
            "Das Leuchtmittel kann von einer Fachkraft gewechselt werden.",
            "Prüfzeichen und Datenblätter liegen der Lieferung bei.",
        ),
    ),
    "en": (
        "{name}: {kind} with {light} light for clear, quiet rooms.",
        (
            "The body is made of extruded aluminium and powder-coated.",
            "The micro-prismatic cover limits glare at computer workplaces.",
            "The driver sits inside the luminaire and is controlled by DALI-2.",
            "The luminaire comes ready to connect, with a terminal that needs no tool.",
            "Colour and flux stay even over the whole lifetime.",
            "The flat shape suits low ceilings and corridors.",
            "Versions with a higher protection rating are available for outdoor use.",
            "Two screws hold the luminaire; the cable enters from three sides.",
            "A three-hour emergency unit can be added later.",
            "The indirect part brightens the ceiling and makes the room look higher.",
            "A qualified person can replace the light source.",
            "Certificates and data sheets come with the delivery.",
        ),
    ),
}
# file name, title, paragraphs
GUIDES: Final = (
    (
        "montage",
        "Montageanleitung {series}",
        (
            "## Vor der Montage\n\nSchalten Sie die Leitung spannungsfrei und sichern Sie sie gegen Wiedereinschalten.",
            "## Montage\n\nHalten Sie die {series} an die Decke, zeichnen Sie die Bohrlöcher an und bohren Sie mit 6 mm.",
            "## Anschluss\n\nVerbinden Sie Außenleiter, Neutralleiter und Schutzleiter mit der Steckklemme.",
        ),
    ),
    (
        "maintenance",
        "Maintenance of {series}",
        (
            "## Cleaning\n\nWipe the cover with a damp cloth. Solvents make acrylic glass brittle.",
            "## Intervals\n\nIn offices a yearly cleaning keeps {series} above 90 percent of its flux.",
        ),
    ),
    (
        "garantie",
        "Garantiebedingungen {series}",
        (
            "Die Garantie für {series} beginnt mit dem Tag der Lieferung und beträgt fünf Jahre.",
            "Ausgenommen sind Schäden durch Überspannung und durch unsachgemäße Montage.",
        ),
    ),
    (
        "dimming",
        "Dimming {series} with DALI-2",
        (
            "## Addressing\n\nEach driver takes one short address; 64 fit on one line.",
            "## Curve\n\n{series} follows the logarithmic curve, from 0.1 to 100 percent.",
        ),
    ),
    (
        "lichtplanung",
        "Lichtplanung mit {series}",
        (
            "Für Büros sind 500 Lux auf der Arbeitsfläche und ein UGR von höchstens 19 gefordert.",
            "Mit {series} im Raster von 2,4 m werden diese Werte bei einer Raumhöhe von 2,8 m erreicht.",
        ),
    ),
    (
        "disposal",
        "Disposal of {series}",
        (
            "Luminaires are electrical waste. Return {series} to a collection point free of charge.",
            "Remove the battery of emergency versions before you return them.",
        ),
    ),
)
# column, header in the files, kind, values or range; a range of (0, 0) is computed
ATTRIBUTES: Final[tuple[tuple[str, str, str, Any], ...]] = (
    ("sku", "Artikelnummer", "text", ()),
    ("name", "Product name", "text", ()),
    ("title_de", "Bezeichnung", "text", ()),
    ("series", "Serie", "text", ()),
    ("description_de", "Beschreibung", "text", ()),
    ("description_en", "Description", "text", ()),
    ("gtin", "GTIN", "text", ("4019283746501", "4019283746518", "4019283746525", "4019283746532")),
    ("etim_class", "ETIM-Klasse", "text", ("EC001743", "EC002892", "EC000758", "EC000986")),
    ("power_w", "Leistung [W]", "decimal", (0, 0)),
    ("luminous_flux_lm", "Lichtstrom [lm]", "integer", (0, 0)),
    ("cct_k", "Farbtemperatur [K]", "integer", (0, 0)),
    ("cri", "Farbwiedergabe Ra", "integer", (80, 97)),
    ("efficacy_lm_w", "Lichtausbeute [lm/W]", "decimal", (80, 165)),
    ("beam_angle_deg", "Ausstrahlungswinkel [°]", "integer", (0, 0)),
    ("ugr", "UGR", "decimal", (10, 28)),
    ("sdcm", "Farbort-Toleranz SDCM", "integer", (2, 5)),
    ("lifetime_h", "Lebensdauer L80B10 [h]", "integer", (30000, 120000)),
    ("voltage_min_v", "Spannung min. [V]", "integer", (110, 220)),
    ("voltage_max_v", "Spannung max. [V]", "integer", (230, 277)),
    ("frequency_hz", "Netzfrequenz [Hz]", "integer", (50, 60)),
    ("current_ma", "Strom [mA]", "integer", (150, 1400)),
    ("power_factor", "Leistungsfaktor", "decimal", (0.85, 0.99)),
    ("inrush_current_a", "Einschaltstrom [A]", "decimal", (2, 45)),
    ("inrush_time_us", "Einschaltdauer [µs]", "integer", (40, 320)),
    ("protection_class", "Schutzklasse", "text", ("I", "II", "III")),
    ("ip_rating", "Schutzart", "text", ("IP20", "IP40", "IP44", "IP54", "IP65", "IP67")),
    ("ik_rating", "Stoßfestigkeit", "text", ("IK02", "IK05", "IK07", "IK08", "IK10")),
    ("glow_wire_c", "Glühdrahtprüfung [°C]", "integer", (650, 960)),
    ("length_mm", "Länge [mm]", "decimal", (60, 3000)),
    ("width_mm", "Breite [mm]", "decimal", (30, 620)),
    ("height_mm", "Höhe [mm]", "decimal", (10, 400)),
    ("diameter_mm", "Durchmesser [mm]", "decimal", (40, 900)),
    ("cutout_mm", "Deckenausschnitt [mm]", "decimal", (40, 600)),
    ("recess_depth_mm", "Einbautiefe [mm]", "decimal", (35, 220)),
    ("weight_kg", "Gewicht [kg]", "decimal", (0.2, 18)),
    ("suspension_mm", "Pendellänge [mm]", "integer", (500, 3000)),
    ("cable_length_mm", "Kabellänge [mm]", "integer", (150, 5000)),
    ("material_body", "Material Gehäuse", "text", ("Aluminium", "Stahlblech", "Polycarbonat", "Edelstahl")),
    (
        "material_cover",
        "Material Abdeckung",
        "text",
        ("PMMA opal", "PMMA mikroprismatisch", "ESG-Glas", "Polycarbonat klar"),
    ),
    ("colour", "Farbe", "text", ()),
    ("ral", "RAL", "text", ("9016", "9005", "9006", "7016", "9010")),
    ("surface", "Oberfläche", "text", ("pulverbeschichtet", "eloxiert", "lackiert", "gebürstet")),
    ("mounting", "Montageart", "text", ("Anbau", "Einbau", "Pendel", "Schiene", "Wand")),
    ("mounting_place", "Montageort", "text", ("Decke", "Wand", "Boden", "Stromschiene")),
    ("room", "Anwendung", "text", ("Büro", "Verkauf", "Schule", "Flur", "Außenbereich", "Museum", "Gesundheitswesen")),
    ("dimming", "Dimmung", "text", ("DALI-2", "1-10 V", "Phasenabschnitt", "nicht dimmbar", "Casambi")),
    ("dimming_min_pct", "Dimmbereich min. [%]", "decimal", (0.1, 10)),
    ("driver", "Betriebsgerät", "text", ("integriert", "extern", "separat bestellen")),
    ("driver_brand", "Betriebsgerät Typ", "text", ("Typ A", "Typ B", "Typ C")),
    ("sensor", "Sensor", "text", ("ohne", "Bewegung", "Tageslicht", "Präsenz")),
    ("emergency", "Notlicht", "text", ("ohne", "1 h", "3 h", "Zentralbatterie")),
    ("through_wiring", "Durchgangsverdrahtung", "text", ("3-polig", "5-polig", "7-polig", "ohne")),
    ("connector", "Anschluss", "text", ("Steckklemme", "Steckverbinder", "freie Leitungsenden")),
    ("conductor_mm2", "Leiterquerschnitt [mm²]", "decimal", (0.5, 2.5)),
    ("light_distribution", "Lichtverteilung", "text", ("direkt", "indirekt", "direkt/indirekt", "asymmetrisch")),
    ("optic", "Optik", "text", ("Linse", "Reflektor", "Diffusor", "Raster")),
    ("light_source", "Leuchtmittel", "text", ("LED-Modul", "COB", "LED-Linie")),
    ("light_source_replaceable", "Leuchtmittel wechselbar", "text", ("ja", "nein", "Fachkraft")),
    ("energy_class", "Energieeffizienzklasse", "text", ("B", "C", "D", "E", "F", "G")),
    ("flicker_pst", "Flicker PstLM", "decimal", (0, 1)),
    ("stroboscopic_svm", "Stroboskop SVM", "decimal", (0, 0.9)),
    ("risk_group", "Photobiologische Risikogruppe", "text", ("RG0", "RG1", "RG2")),
    ("temp_min_c", "Umgebungstemperatur min. [°C]", "integer", (-30, 0)),
    ("temp_max_c", "Umgebungstemperatur max. [°C]", "integer", (25, 55)),
    ("wind_area_m2", "Windangriffsfläche [m²]", "decimal", (0.01, 0.4)),
    ("ball_proof", "Ballwurfsicher", "text", ("ja", "nein")),
    ("furniture_mark", "Möbelzeichen", "text", ("M", "MM", "F", "ohne")),
    ("certificates", "Prüfzeichen", "text", ("CE", "CE, ENEC", "CE, VDE", "CE, UKCA")),
    ("warranty_years", "Garantie [Jahre]", "integer", (2, 10)),
    ("delivery_days", "Lieferzeit [Tage]", "integer", (1, 60)),
    ("pack_unit", "Verpackungseinheit", "integer", (1, 24)),
    ("pack_weight_kg", "Gewicht Verpackung [kg]", "decimal", (0.1, 3)),
    ("customs_number", "Zolltarifnummer", "text", ("94051140", "94051190", "94054239")),
    ("origin", "Ursprungsland", "text", ("DE", "AT", "IT", "PL")),
    ("catalogue_page", "Katalogseite", "integer", (12, 980)),
)
