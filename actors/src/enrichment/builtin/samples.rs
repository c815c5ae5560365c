//! Article texts as editors write them, one per language, made for these tests.

pub(super) struct Sample {
    pub(super) language: &'static str,
    pub(super) title: &'static str,
    pub(super) content: &'static str,
    pub(super) expected: Expected,
}

/// What comes out, read and found good by people.
pub(super) struct Expected {
    pub(super) summary: &'static str,
    pub(super) titles: &'static [&'static str],
    pub(super) tags: &'static [&'static str],
}

pub(super) const SAMPLES: &[Sample] = &[
    Sample {
        language: "en",
        title: "City council approves new tram line to the harbour",
        content: r#"<!-- wp:paragraph --><p class="byline">By Dr. Jane Doe, Staff Writer.</p><!-- /wp:paragraph -->
<!-- wp:image {"id":7} --><figure class="wp-block-image"><img src="t.jpg" alt=""/><figcaption>The harbour at dawn. Photo: J. Doe</figcaption></figure><!-- /wp:image -->
<!-- wp:paragraph --><p>The city council voted on Tuesday to build a new tram line from the central station to the harbour, ending a dispute that has lasted more than a decade. The $480 million project was approved by 31 votes to 14 after a debate of nearly six hours.</p><!-- /wp:paragraph -->
<!-- wp:paragraph --><p>Construction of the tram line is to begin next spring and should take four years, according to Mayor Ellen R. Voss. "This is the most important investment in public transport for a generation," she said. "It will change how people move."</p><!-- /wp:paragraph -->
<!-- wp:heading --><h2>Traders fear for their income</h2><!-- /wp:heading -->
<!-- wp:paragraph --><p>But shop owners along Harbour Street fear years of noise and lost trade. Many of them have asked the council for compensation while the street is closed to cars. The council has set aside $12.5 million for such payments, approx. 3 per cent of the total cost.</p><!-- /wp:paragraph -->
<!-- wp:list --><ul><li>Length: 7.4 km</li><li>Stops: 14</li><li>Trams every 6 minutes at peak times.</li></ul><!-- /wp:list -->
<!-- wp:paragraph --><p>The U.S. manufacturer Lindqvist Corp. will deliver 22 trams for the new line. Each tram carries up to 240 passengers and runs on batteries in the old town, where overhead wires are not allowed. The city expects 35,000 passengers a day on the tram line by 2035.</p><!-- /wp:paragraph -->
<!-- wp:paragraph --><p>Read more: <a href="https://example.com">Ten facts about the tram.</a> Sign up for our newsletter to get the latest news.</p><!-- /wp:paragraph -->"#,
        expected: Expected {
            summary: "The city council voted on Tuesday to build a new tram line from the central station to the harbour, ending a dispute that has lasted more than a decade. Construction of the tram line is to begin next spring and should take four years, according to Mayor Ellen R. Voss.",
            titles: &[
                "Construction of the tram line is to begin next spring and should take four years",
                "The U.S. manufacturer Lindqvist Corp. will deliver 22 trams for the new line",
                "The city expects 35,000 passengers a day on the tram line by 2035",
            ],
            tags: &["tram line", "city council", "harbour"],
        },
    },
    Sample {
        language: "de",
        title: "Stadt will bis 2030 alle Schulen sanieren",
        content: "<p>Die Stadt Neuberg will bis zum Jahr 2030 alle 42 Schulen sanieren und dafür rund 310 Mio. Euro ausgeben. Das beschloss der Stadtrat am 3. Mai mit den Stimmen von CDU, SPD und Grünen. „Wir haben zu lange gewartet“, sagte Bürgermeisterin Prof. Dr. Anna Kessler. „Jetzt handeln wir.“</p>\n<p>Besonders dringend ist die Sanierung bei den Grundschulen im Norden der Stadt, z. B. in der Gartenstraße, wo seit Monaten zwei Klassenräume gesperrt sind. Dort sollen die Arbeiten schon in den Sommerferien beginnen. Während der Sanierung werden die Schüler in Containern unterrichtet, die die Stadt für zwei Jahre mietet.</p>\n<p>Die FDP stimmte gegen den Plan. Ihr Fraktionschef Ulrich Brandt nannte die Kosten der Sanierung „ein Fass ohne Boden“. Das Land übernimmt nach Angaben der Verwaltung 40 Prozent der Kosten, den Rest muss die Stadt über Kredite finanzieren.</p><p>Lesen Sie auch: So teuer wird das neue Hallenbad.</p>",
        expected: Expected {
            summary: "Die Stadt Neuberg will bis zum Jahr 2030 alle 42 Schulen sanieren und dafür rund 310 Mio. Euro ausgeben. Besonders dringend ist die Sanierung bei den Grundschulen im Norden der Stadt, z. B. in der Gartenstraße, wo seit Monaten zwei Klassenräume gesperrt sind. Dort sollen die Arbeiten schon in den Sommerferien beginnen.",
            titles: &[
                "Besonders dringend ist die Sanierung bei den Grundschulen im Norden der Stadt",
                "Das Land übernimmt nach Angaben der Verwaltung 40 Prozent der Kosten",
            ],
            tags: &["Stadt", "Sanierung", "Schulen", "Kosten"],
        },
    },
    Sample {
        language: "fr",
        title: "La ville de Montclair interdit les voitures dans le centre",
        content: "<p>La ville de Montclair interdira les voitures particulières dans son centre historique à partir du 1er septembre. La mesure, adoptée lundi par le conseil municipal, concerne une zone de 2,3 km² où vivent près de 18 000 habitants. « Nous voulons rendre la rue aux piétons. C'est une question de santé publique », a déclaré le maire, M. Henri Vasseur.</p><p>Les riverains, les livreurs et les taxis garderont le droit d'entrer dans la zone, mais seulement entre 6 heures et 10 heures. La ville prévoit aussi d'ouvrir trois parkings relais à l'entrée du centre et de renforcer les lignes de bus. Le coût total des travaux est estimé à 27 millions d'euros, dont un tiers payé par l'État.</p><p>L'association des commerçants du centre a annoncé un recours devant le tribunal administratif. Elle redoute une baisse de la fréquentation, alors que plusieurs villes voisines ont choisi des restrictions plus souples pour les voitures.</p><p>Lire aussi : Les pistes cyclables à la traîne.</p>",
        expected: Expected {
            summary: "La ville de Montclair interdira les voitures particulières dans son centre historique à partir du 1er septembre. La mesure, adoptée lundi par le conseil municipal, concerne une zone de 2,3 km² où vivent près de 18 000 habitants. Le coût total des travaux est estimé à 27 millions d'euros, dont un tiers payé par l'État.",
            titles: &[
                "Le coût total des travaux est estimé à 27 millions d'euros, dont un tiers payé par l'État",
            ],
            tags: &["centre", "ville", "voitures", "Montclair"],
        },
    },
    Sample {
        language: "es",
        title: "El embalse de Valdeoro baja al 18 % de su capacidad",
        content: "<p>El embalse de Valdeoro, que abastece de agua a 600.000 personas, ha bajado al 18 % de su capacidad tras el tercer verano consecutivo sin lluvias. La Confederación Hidrográfica anunció ayer que reducirá el riego un 40 % en toda la comarca. «Si no llueve antes de noviembre, habrá cortes nocturnos», advirtió su presidenta, la Sra. Carmen Ortega.</p><p>Los agricultores calculan pérdidas de 90 millones de euros en la cosecha de este año. Las organizaciones agrarias piden al Gobierno ayudas directas y la construcción de una planta desaladora en la costa. Según el Ministerio, el proyecto de la desaladora tardaría al menos cuatro años en dar agua al embalse.</p><p>Los ayuntamientos de la comarca han prohibido llenar piscinas y lavar coches. También estudian subir el precio del agua a los grandes consumidores. El consumo medio por habitante bajó en agosto de 142 a 118 litros diarios gracias a las primeras restricciones de agua.</p>",
        expected: Expected {
            summary: "El embalse de Valdeoro, que abastece de agua a 600.000 personas, ha bajado al 18 % de su capacidad tras el tercer verano consecutivo sin lluvias. Según el Ministerio, el proyecto de la desaladora tardaría al menos cuatro años en dar agua al embalse.",
            titles: &[
                "Los agricultores calculan pérdidas de 90 millones de euros en la cosecha de este año",
            ],
            tags: &["agua", "embalse", "Valdeoro"],
        },
    },
    Sample {
        language: "pt",
        title: "Hospital público de Serra Nova recebe novo centro de cirurgia",
        content: "<p>O hospital público de Serra Nova inaugurou na quarta-feira um centro de cirurgia com doze salas, que deve reduzir pela metade a fila de espera da região. A obra custou R$ 84 milhões e levou três anos para ficar pronta. Segundo a diretora do hospital, Dra. Helena Prado, as primeiras cirurgias serão feitas já na próxima semana.</p><p>Hoje, cerca de 9.400 pacientes aguardam por uma cirurgia no hospital, e alguns esperam há mais de dois anos. O novo centro vai permitir 60 operações por dia, contra 25 até agora. Para isso, o governo estadual contratou 140 enfermeiros e 38 médicos.</p><p>O sindicato dos trabalhadores da saúde elogiou a obra, mas afirmou que faltam anestesistas. O governo respondeu que um novo concurso será aberto em março para preencher as vagas do hospital.</p>",
        expected: Expected {
            summary: "O hospital público de Serra Nova inaugurou na quarta-feira um centro de cirurgia com doze salas, que deve reduzir pela metade a fila de espera da região. Hoje, cerca de 9.400 pacientes aguardam por uma cirurgia no hospital, e alguns esperam há mais de dois anos.",
            titles: &["O novo centro vai permitir 60 operações por dia, contra 25 até agora"],
            tags: &["Serra Nova", "hospital", "novo centro", "cirurgia"],
        },
    },
    Sample {
        language: "ru",
        title: "В Заречном открыли мост через реку Светлую",
        content: "<p>В городе Заречный в субботу открыли новый мост через реку Светлую, который строили почти пять лет. Длина моста составляет 1,2 км, а стоимость строительства превысила 6 млрд. рублей. На церемонии открытия выступил мэр города А. С. Лебедев.</p><p>Новый мост соединил центр города с промышленным районом на левом берегу. Раньше водителям приходилось делать крюк длиной 18 километров через соседний город. По расчётам администрации, по мосту ежедневно будут проезжать около 25 тыс. автомобилей.</p><p>Он рассчитан на сто лет службы. Старый паром, работавший с 1957 г. до этой осени, выведут из эксплуатации и превратят в музей. Жители левого берега просят также пустить по мосту автобус, но решение по маршруту городские власти примут только весной.</p>",
        expected: Expected {
            summary: "В городе Заречный в субботу открыли новый мост через реку Светлую, который строили почти пять лет. Длина моста составляет 1,2 км, а стоимость строительства превысила 6 млрд. рублей. На церемонии открытия выступил мэр города А. С. Лебедев. Новый мост соединил центр города с промышленным районом на левом берегу.",
            titles: &[
                "В городе Заречный в субботу открыли новый мост через реку Светлую",
                "Новый мост соединил центр города с промышленным районом на левом берегу",
            ],
            tags: &["реку Светлую", "новый мост"],
        },
    },
    Sample {
        language: "ar",
        title: "افتتاح محطة للطاقة الشمسية في واحة النخيل",
        content: "<p>افتتحت وزارة الطاقة يوم الأحد محطة جديدة للطاقة الشمسية في واحة النخيل بقدرة إنتاجية تبلغ 400 ميغاواط. وتكفي الكهرباء التي تنتجها المحطة لتزويد نحو 150 ألف منزل بالطاقة على مدار العام. وقالت الوزيرة ليلى منصور: «هذا المشروع خطوة مهمة نحو مستقبل نظيف».</p><p>بلغت تكلفة محطة الطاقة الشمسية 320 مليون دولار، وشارك في تمويلها ثلاثة مصارف محلية. ويعمل في المحطة أكثر من مئتي مهندس وفني معظمهم من أبناء المنطقة. هل تنجح الواحة في أن تصبح مركزا للطاقة المتجددة؟</p><p>لكن بعض المزارعين يخشون أن تستهلك المحطة كميات كبيرة من المياه لتنظيف الألواح. وأكدت الوزارة أن المحطة تستخدم نظاما جافا للتنظيف لا يحتاج إلى الماء.</p>",
        expected: Expected {
            summary: "افتتحت وزارة الطاقة يوم الأحد محطة جديدة للطاقة الشمسية في واحة النخيل بقدرة إنتاجية تبلغ 400 ميغاواط. وتكفي الكهرباء التي تنتجها المحطة لتزويد نحو 150 ألف منزل بالطاقة على مدار العام. بلغت تكلفة محطة الطاقة الشمسية 320 مليون دولار، وشارك في تمويلها ثلاثة مصارف محلية.",
            titles: &[
                "بلغت تكلفة محطة الطاقة الشمسية 320 مليون دولار، وشارك في تمويلها ثلاثة مصارف محلية",
            ],
            tags: &["للطاقة الشمسية", "واحة النخيل", "المحطة"],
        },
    },
    Sample {
        language: "hi",
        title: "जयनगर में मेट्रो की नई लाइन शुरू",
        content: "<p>जयनगर में सोमवार को मेट्रो की नई लाइन शुरू हो गई, जो रेलवे स्टेशन को हवाई अड्डे से जोड़ती है। करीब 24 किलोमीटर लंबी इस लाइन पर 19 स्टेशन बनाए गए हैं। मुख्यमंत्री डॉ. सुनील वर्मा ने सुबह पहली मेट्रो ट्रेन को हरी झंडी दिखाई।</p><p>मेट्रो की नई लाइन बनाने में सात साल लगे और इस पर 9,800 करोड़ रुपये खर्च हुए। यात्रियों को अब स्टेशन से हवाई अड्डे तक पहुंचने में केवल 35 मिनट लगेंगे। पहले सड़क के रास्ते यह सफर दो घंटे का था।</p><p>लेकिन कई यात्रियों ने किराये को लेकर नाराजगी जताई है। मेट्रो प्रशासन ने कहा कि छात्रों और बुजुर्गों को किराये में 30 प्रतिशत की छूट मिलेगी।</p>",
        expected: Expected {
            summary: "जयनगर में सोमवार को मेट्रो की नई लाइन शुरू हो गई, जो रेलवे स्टेशन को हवाई अड्डे से जोड़ती है। करीब 24 किलोमीटर लंबी इस लाइन पर 19 स्टेशन बनाए गए हैं। मुख्यमंत्री डॉ. सुनील वर्मा ने सुबह पहली मेट्रो ट्रेन को हरी झंडी दिखाई। मेट्रो की नई लाइन बनाने में सात साल लगे और इस पर 9,800 करोड़ रुपये खर्च हुए।",
            titles: &[
                "जयनगर में सोमवार को मेट्रो की नई लाइन शुरू हो गई",
                "मेट्रो की नई लाइन बनाने में सात साल लगे और इस पर 9,800 करोड़ रुपये खर्च हुए",
                "करीब 24 किलोमीटर लंबी इस लाइन पर 19 स्टेशन बनाए गए हैं",
            ],
            tags: &["नई लाइन शुरू"],
        },
    },
    Sample {
        language: "zh",
        title: "临江市开通首条无人驾驶公交线路",
        content: "<p>临江市周一开通首条无人驾驶公交线路，全长十二公里，连接高铁站与大学城。市交通局局长李明表示，线路初期投入二十辆无人驾驶公交车，每八分钟一班。“安全始终是第一位的。每辆车上都配有安全员。”他说。</p><p>据介绍，无人驾驶公交车装有激光雷达和十六个摄像头，可以识别二百米以内的行人和车辆。乘客上车只需扫码，票价为两元，与普通公交相同。</p><p>不过，一些市民对夜间和雨天的行车安全表示担心。交通局回应说，试运行三个月以来，车辆累计行驶超过八万公里，没有发生一起事故。临江市计划在明年年底前再开通五条无人驾驶公交线路。</p><p>相关阅读：公交票价十年未变。</p>",
        expected: Expected {
            summary: "临江市周一开通首条无人驾驶公交线路，全长十二公里，连接高铁站与大学城。市交通局局长李明表示，线路初期投入二十辆无人驾驶公交车，每八分钟一班。“安全始终是第一位的。每辆车上都配有安全员。”他说。据介绍，无人驾驶公交车装有激光雷达和十六个摄像头，可以识别二百米以内的行人和车辆。",
            titles: &[
                "临江市周一开通首条无人驾驶公交线路，全长十二公里，连接高铁站与大学城",
                "临江市计划在明年年底前再开通五条无人驾驶公交线路",
                "据介绍，无人驾驶公交车装有激光雷达和十六个摄像头，可以识别二百米以内的行人和车辆",
            ],
            tags: &["无人驾驶公交"],
        },
    },
    Sample {
        language: "ja",
        title: "港町の古い倉庫が図書館に生まれ変わる",
        content: "<p>港町の中心部にある築百年の赤れんが倉庫が、市立図書館として生まれ変わり、土曜日に開館した。改修には三年をかけ、総事業費は約四十二億円に上った。市長の田中恵子さんは「世代を超えて人が集まる場所にしたい。静かに読む人も、話し合う人も歓迎です」と話した。</p><p>新しい図書館は地上三階建てで、約三十万冊の本を収める。一階にはカフェと子ども向けの読書スペースがあり、三階からは港を一望できる。開館初日にはおよそ五千人の市民が図書館を訪れた。</p><p>一方、駐車場が少ないことを心配する声もある。市は図書館の前に新しいバス停を設け、公共交通での来館を呼びかけている。</p><p>関連記事：赤れんが倉庫の歴史</p>",
        expected: Expected {
            summary: "港町の中心部にある築百年の赤れんが倉庫が、市立図書館として生まれ変わり、土曜日に開館した。改修には三年をかけ、総事業費は約四十二億円に上った。新しい図書館は地上三階建てで、約三十万冊の本を収める。開館初日にはおよそ五千人の市民が図書館を訪れた。",
            titles: &[
                "港町の中心部にある築百年の赤れんが倉庫が、市立図書館として生まれ変わり、土曜日に開館した",
                "新しい図書館は地上三階建てで、約三十万冊の本を収める",
                "開館初日にはおよそ五千人の市民が図書館を訪れた",
            ],
            tags: &["図書館", "倉庫"],
        },
    },
];
